<?php

/**
 * Keep Convultra's cookie for its 90 days in Safari: set it again, unchanged, from the site's own pages.
 *
 *     require __DIR__ . '/convultra-cookie.php';
 *     convultra_keep_cookie('example.com');
 *
 * PHP 7.4 or newer. Before any output. What it does and why is told in the README beside this file.
 */

declare(strict_types=1);

const CONVULTRA_DAY = 24 * 60 * 60 * 1000; // milliseconds, as in the cookie
const CONVULTRA_LIFE = 90 * CONVULTRA_DAY; // the SDK's; Microsoft matches a click for 90 days
// visitor.since, and .click.at when a click is known
const CONVULTRA_VALUE = '/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.([0-9]{13})'
    . '(?:\.(?=(?:-*[0-9a-fA-F]){24})[0-9a-fA-F-]{24,40}\.([0-9]{13}))?$/D';

/**
 * Have the cookie set when PHP sends the headers. PHP keeps one such callback: if you have one of your own, call
 * convultra_set_cookie_again() there instead.
 *
 * @param string $domain the registrable one; without it only the hosts example.com and www.example.com are served
 */
function convultra_keep_cookie(string $domain = ''): void
{
    header_register_callback(static function () use ($domain): void {
        convultra_set_cookie_again($domain);
    });
}

/** Set the cookie that the browser sent again, if this response is an HTML page; say whether it was set. */
function convultra_set_cookie_again(string $domain = ''): bool
{
    $headers = implode("\n", headers_list());
    $page = preg_match('/^Content-Type: *text\/html/im', $headers);
    $shared = preg_match('/^Cache-Control:.*(?:public|s-maxage)/im', $headers);
    $already = preg_match('/^Set-Cookie: *_convultra=/im', $headers);
    // Two cookies of the name: nobody can tell which domain has which.
    $one = preg_match_all('/(?:^|;) *_convultra=([^;]*)/', $_SERVER['HTTP_COOKIE'] ?? '', $sent) === 1;
    $domain = $domain ?: convultra_bare_domain();
    if (headers_sent() || !$page || $shared || $already || !$one || !$domain) {
        return false;
    }
    $value = $sent[1][0];
    $ends = convultra_cookie_expiry($value, (int) (microtime(true) * 1000));
    if (!$ends) {
        return false;
    }
    $https = !in_array(strtolower($_SERVER['HTTPS'] ?? 'off'), ['', 'off'], true)
        || preg_match('/^https/i', $_SERVER['HTTP_X_FORWARDED_PROTO'] ?? '');
    $expires = gmdate('D, d M Y H:i:s', intdiv($ends, 1000)) . ' GMT';
    $secure = $https ? '; Secure' : '';
    header("Set-Cookie: _convultra=$value; Domain=$domain; Path=/; Expires=$expires; SameSite=Lax$secure", false);
    if (!preg_match('/^Cache-Control:.*(?:private|no-store)/im', $headers)) {
        header('Cache-Control: private', false);
    }
    return true;
}

/** Return when a cookie of this value ends, or 0 where it is not to be set; both in milliseconds since 1970. */
function convultra_cookie_expiry(string $value, int $now): int
{
    if (!preg_match(CONVULTRA_VALUE, $value, $moments)) {
        return 0;
    }
    $newest = max((int) $moments[1], (int) ($moments[2] ?? 0));
    return $newest > $now - CONVULTRA_LIFE && $newest < $now + CONVULTRA_DAY ? $newest + CONVULTRA_LIFE : 0;
}

// example.com and www.example.com need no guess. If the guess is a public suffix, browsers drop the cookie.
function convultra_bare_domain(): string
{
    $bare = '/^(?:www\.)?([a-z0-9-]+\.[a-z][a-z0-9-]*)(?::[0-9]+)?$/iD';
    return preg_match($bare, $_SERVER['HTTP_HOST'] ?? '', $match) ? strtolower($match[1]) : '';
}
