"use strict";

// A site of one page under Express (`node shop.js express`) or under node's own server (`node shop.js http`). The query
// says which response it makes, whether the helper knows the domain, and what no HTTP client would send as it is.

const http = require("http");
const convultraCookie = require("../../docs/server-helpers/convultra-cookie");

const configured = convultraCookie({ domain: "shop.test" });
const bare = convultraCookie();

function helper(req, res, next) {
  const query = new URL(req.url, "http://shop.test").searchParams;
  if (query.has("cookie")) req.headers.cookie = query.get("cookie");
  if (query.has("tls")) req.socket.encrypted = true; // as node marks a TLS connection
  (query.get("domain") ? configured : bare)(req, res, next);
}

function page(req, res) {
  const query = new URL(req.url, "http://shop.test").searchParams;
  if (query.has("handed")) return res.writeHead(200, { "Content-Type": query.get("type") }).end();
  res.setHeader("Content-Type", query.get("type"));
  if (query.get("caching")) res.setHeader("Cache-Control", query.get("caching"));
  if (query.get("own")) res.setHeader("Set-Cookie", query.get("own"));
  const html = "<!doctype html><title>Shop</title>";
  if (res.send) res.send(html);
  else res.end(html);
}

let app = (req, res) => helper(req, res, () => page(req, res));
if (process.argv[2] === "express") {
  app = require("express")();
  app.use(helper);
  app.get("/", page);
}
const server = http.createServer(app).listen(0, "127.0.0.1", () => console.log(server.address().port));
