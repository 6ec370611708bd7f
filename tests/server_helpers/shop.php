<?php

// A site of one page in plain PHP, or with `wordpress` in the query as WordPress would run the hook. The query says
// which response it makes, whether the helper knows the domain, and what no HTTP client would send as it is.

declare(strict_types=1);

if (isset($_GET['cookie'])) {
    $_SERVER['HTTP_COOKIE'] = $_GET['cookie'];
}
if (isset($_GET['tls'])) {
    $_SERVER['HTTPS'] = 'on'; // as web servers say it
}
$helpers = __DIR__ . '/../../docs/server-helpers';
$actions = [];

if (isset($_GET['wordpress'])) {
    // A stand-in for the one function of WordPress that the hook calls.
    function add_action(string $hook, callable $callback, int $priority = 10): void
    {
        $GLOBALS['actions'][$hook][$priority][] = $callback;
    }
    define('ABSPATH', __DIR__);
    if ($_GET['domain']) {
        define('CONVULTRA_COOKIE_DOMAIN', $_GET['domain']);
    }
    require "$helpers/convultra-cookie-wordpress.php";
    include_once "$helpers/convultra-cookie.php"; // WordPress includes every file of mu-plugins
} else {
    require "$helpers/convultra-cookie.php";
    convultra_keep_cookie($_GET['domain']);
}

header("Content-Type: {$_GET['type']}");
if ($_GET['caching']) {
    header("Cache-Control: {$_GET['caching']}");
}
if ($_GET['own']) {
    header("Set-Cookie: {$_GET['own']}");
}
foreach ($actions['send_headers'][PHP_INT_MAX] ?? [] as $callback) {
    $callback();
}
if (isset($_GET['wordpress'])) {
    header('X-Stored: ' . (defined('DONOTCACHEPAGE') ? 'no' : 'yes'));
}
echo '<!doctype html><title>Shop</title>';
