<?php

/**
 * Plugin Name: Convultra cookie
 * Description: Keeps Convultra's cookie for its 90 days in Safari, by setting it again from the site's own pages.
 * Requires PHP: 7.4
 *
 * Copy this file and convultra-cookie.php to wp-content/mu-plugins/, and say in wp-config.php:
 *
 *     define('CONVULTRA_COOKIE_DOMAIN', 'example.com');
 *
 * What it does and why is told in the README beside this file.
 */

declare(strict_types=1);

defined('ABSPATH') || exit;

require_once __DIR__ . '/convultra-cookie.php';

// WordPress has its own headers out by then, and admin pages, AJAX and the REST API never come here. Last of all, so
// that what other plugins say of caching and content type is known.
add_action('send_headers', 'convultra_keep_cookie_in_wordpress', PHP_INT_MAX);

function convultra_keep_cookie_in_wordpress(): void
{
    $domain = defined('CONVULTRA_COOKIE_DOMAIN') ? (string) constant('CONVULTRA_COOKIE_DOMAIN') : '';
    if (convultra_set_cookie_again($domain) && !defined('DONOTCACHEPAGE')) {
        define('DONOTCACHEPAGE', true); // most page caches heed it; this response is one visitor's
    }
}
