"use strict";

/**
 * Keep Convultra's cookie for its 90 days in Safari: set it again, unchanged, from the site's own pages.
 *
 *     const convultraCookie = require("./convultra-cookie");
 *     app.use(convultraCookie({ domain: "example.com" }));
 *
 * Node 14 or newer; Express 4 or 5, or anything else that calls (req, res, next). Before the routes. What it does and
 * why is told in the README beside this file.
 */

const COOKIE = "_convultra";
const DAY = 24 * 60 * 60 * 1000;
const LIFE = 90 * DAY; // the SDK's; Microsoft matches a click for 90 days
const SENT = /(?:^|;) *_convultra=([^;]*)/g;
// visitor.since, and .click.at when a click is known
const VALUE =
  /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.([0-9]{13})(?:\.(?=(?:-*[0-9a-fA-F]){24})[0-9a-fA-F-]{24,40}\.([0-9]{13}))?$/;
const BARE_HOST = /^(?:www\.)?([a-z0-9-]+\.[a-z][a-z0-9-]*)(?::[0-9]+)?$/i;

/**
 * Make the middleware.
 * @param {{domain?: string}} [options] domain: the registrable one, such as "example.com"; without it only the hosts
 *   example.com and www.example.com are served.
 */
module.exports = function convultraCookie({ domain } = {}) {
  if (domain && !/^[\w.-]+$/.test(domain)) throw new TypeError("convultraCookie() needs a domain such as example.com");
  return (req, res, next) => {
    const writeHead = res.writeHead; // the last moment at which headers can change
    res.writeHead = function (...rest) {
      setAgain(req, res, domain);
      return writeHead.apply(this, rest);
    };
    next();
  };
};

function setAgain(req, res, configured) {
  const page = /^text\/html/i.test(String(res.getHeader("Content-Type")));
  const caching = String(res.getHeader("Cache-Control") || "");
  const already = [].concat(res.getHeader("Set-Cookie") || []);
  const sent = [...(req.headers.cookie || "").matchAll(SENT)];
  const domain = configured || bareDomain(req);
  if (res.headersSent || !page || /public|s-maxage/i.test(caching) || !domain) return;
  // Two cookies of the name: nobody can tell which domain has which.
  if (sent.length !== 1 || already.some((line) => line.startsWith(COOKIE + "="))) return;
  const value = sent[0][1];
  const ends = expiry(value, Date.now());
  if (!ends) return;
  const https = req.socket.encrypted || /^https/i.test(req.headers["x-forwarded-proto"]);
  const attributes = `Domain=${domain}; Path=/; Expires=${new Date(ends).toUTCString()}; SameSite=Lax`;
  res.setHeader("Set-Cookie", [...already, `${COOKIE}=${value}; ${attributes}${https ? "; Secure" : ""}`]);
  if (!/private|no-store/i.test(caching)) res.setHeader("Cache-Control", caching ? caching + ", private" : "private");
}

/** When a cookie of this value ends, or 0 where it is not to be set; both in milliseconds since 1970. */
function expiry(value, now) {
  const [matches, since, at] = VALUE.exec(value) || [];
  const newest = Math.max(since, at || 0);
  return matches && newest > now - LIFE && newest < now + DAY ? newest + LIFE : 0;
}

// example.com and www.example.com need no guess. If the guess is a public suffix, browsers drop the cookie.
function bareDomain(req) {
  const [, domain = ""] = BARE_HOST.exec(req.headers.host) || [];
  return domain.toLowerCase();
}
