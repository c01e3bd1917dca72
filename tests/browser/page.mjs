// Goes through the admin page as a person would, in a real browser, and reports everything that was not inert text.
//
//   node page.mjs PLAYWRIGHT CHROMIUM < {"link", "marks", "pages_max", "sabotage"}  > report
//
// Keeps true: nothing is judged by how the page is made, only by what the browser does and shows. With `sabotage` the answers
// are spoilt on their way (escapes undone, or the policy taken away too), so that a test can show that spoilt pages are noticed.
import { request as plainRequest } from "node:http";

const [playwright, executablePath] = process.argv.slice(2);
const { chromium } = await import(playwright);
let input = "";
for await (const part of process.stdin) input += part;
const { link, marks, pages_max, sabotage } = JSON.parse(input);
const origin = new URL(link).origin;

const report = { pages: 0, kinds: {}, marks: {}, findings: [], downloads: 0, login: {} };
// Each finding once, with the first place.
const known = new Set();
const found = (what, where) => {
  if (known.has(what) || known.size > 200) return;
  known.add(what);
  report.findings.push(`${what} [${where}]`);
};

const POLICY =
  "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
const HEADERS = {
  "content-security-policy": POLICY,
  "x-content-type-options": "nosniff",
  "referrer-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  "cache-control": "no-store",
};

function checkHeaders(headers, where) {
  for (const [name, value] of Object.entries(HEADERS)) {
    if (headers[name] !== value) found(`header ${name} is ${headers[name]}`, where);
  }
  for (const name of ["access-control-allow-origin", "refresh", "link"]) {
    if (headers[name] !== undefined) found(`header ${name}: ${headers[name]}`, where);
  }
}

// A request with headers that no browser would send.
function raw(path, method, headers) {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(origin);
    const request = plainRequest({ hostname, port, path, method, headers }, (response) => {
      response.resume();
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers }));
    });
    request.on("error", reject);
    request.end();
  });
}

const browser = await chromium.launch({ executablePath, headless: true, args: ["--no-sandbox", "--disable-gpu"] });

// A context in which everything that runs, pops up or goes elsewhere is reported.
async function watchedContext() {
  const context = await browser.newContext({ acceptDownloads: false });
  let where = () => "?";
  await context.exposeBinding("pwned", (_source, what) => found(`SCRIPT RAN: ${what}`, where()));
  await context.exposeBinding("reportViolation", (_source, what) => found(`policy violated: ${what}`, where()));
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      window.reportViolation(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
    });
  });
  context.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(`${origin}/`)) found(`request to ${url.slice(0, 200)}`, where());
  });
  const page = await context.newPage();
  where = () => page.url();
  context.on("page", (other) => found(`a window opened: ${other.url()}`, where()));
  context.on("dialog", async (dialog) => {
    found(`dialog: ${dialog.message()}`, where());
    await dialog.dismiss();
  });
  page.on("pageerror", (error) => found(`script error: ${error}`, where()));
  page.on("console", (message) => {
    const text = message.text();
    if (/Content Security Policy|Refused to/.test(text)) found(`console: ${text.slice(0, 200)}`, where());
  });
  return { context, page };
}

async function spoil(context) {
  await context.route(`${origin}/**`, async (route) => {
    const response = await route.fetch({ maxRedirects: 0 });
    const headers = response.headers();
    if (!(headers["content-type"] ?? "").startsWith("text/html")) return route.fulfill({ response });
    const body = (await response.text())
      .replaceAll("&lt;", "<")
      .replaceAll("&gt;", ">")
      .replaceAll("&quot;", '"')
      .replaceAll("&#39;", "'");
    if (sabotage === "policy") delete headers["content-security-policy"];
    delete headers["content-length"];
    return route.fulfill({ response, headers, body });
  });
}

// What the document is made of: run in the browser.
function audit({ origin, marks }) {
  const findings = [];
  const banned = "script,iframe,frame,frameset,object,embed,applet,base,style,svg,math,img[onerror],video,audio,textarea,portal";
  for (const element of document.querySelectorAll(banned)) findings.push(`element ${element.outerHTML.slice(0, 120)}`);
  for (const element of document.querySelectorAll("*")) {
    for (const { name, value } of element.attributes) {
      if (name.startsWith("on") || name === "style" || name === "srcdoc" || name === "formaction" || name === "ping") {
        findings.push(`attribute ${name}=${value.slice(0, 80)}`);
      }
      if (["href", "src", "action", "xlink:href", "data", "poster"].includes(name)) {
        let target;
        try {
          target = new URL(value, document.baseURI);
        } catch {
          findings.push(`${name} is no URL: ${value.slice(0, 80)}`);
          continue;
        }
        if (target.origin !== origin) findings.push(`${name} leads away: ${value.slice(0, 80)}`);
      }
      if (name === "target") findings.push(`target=${value}`);
    }
  }
  for (const meta of document.querySelectorAll("meta[http-equiv]")) findings.push(`meta ${meta.outerHTML}`);
  // What a form sends back unseen must be exact; everything else is made visible.
  const copy = document.documentElement.cloneNode(true);
  copy.querySelectorAll("input[type=hidden]").forEach((field) => field.removeAttribute("value"));
  const html = copy.outerHTML;
  const hidden = html.match(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/);
  if (hidden) findings.push(`hidden character U+${hidden[0].codePointAt(0).toString(16)} at …${html.slice(Math.max(0, hidden.index - 60), hidden.index + 20)}`);
  if (getComputedStyle(document.body).display === "none") findings.push("the body is hidden");
  for (const part of document.querySelectorAll("details")) part.open = true;
  const text = document.body.innerText;
  return {
    findings,
    marks: marks.filter((mark) => text.includes(mark)),
    links: [...document.querySelectorAll("a[href]")].map((link) => link.href),
    title: document.title,
  };
}

// The link: looking does not use it up, entering does, and then nobody can enter again.
const { context, page } = await watchedContext();
for (let look = 0; look < 2; look += 1) {
  const preview = await fetch(link);
  report.login.preview = preview.status;
  if (preview.headers.get("set-cookie")) found("a look at the link sets a cookie", "login");
  checkHeaders(Object.fromEntries(preview.headers), "login");
}
report.login.without = (await fetch(`${origin}/admin`, { redirect: "manual" })).status;
await page.goto(link);
await page.locator("form button, form input[type=submit]").first().click();
await page.waitForURL((url) => url.pathname === "/admin" || url.pathname === "/admin/");
if (sabotage) await spoil(context);
const cookies = await context.cookies();
report.login.cookies = cookies.map(({ httpOnly, sameSite, path }) => ({ httpOnly, sameSite, path }));
const cookie = cookies.map(({ name, value }) => `${name}=${value}`).join("; ");
const again = await browser.newContext();
const thief = await again.newPage();
const reused = await thief.goto(link);
const button = thief.locator("form button, form input[type=submit]");
report.login.reuse = reused.status();
if (reused.ok() && (await button.count()) > 0) {
  const [response] = await Promise.all([
    thief.waitForResponse((answer) => answer.request().method() === "POST"),
    button.first().click(),
  ]);
  report.login.reuse = response.status();
}
report.login.reuse_cookies = (await again.cookies()).length;
await again.close();
const host = new URL(origin).host;
report.login.rebinding = (await raw("/admin", "GET", { host: "evil.example", cookie })).status;
report.login.foreign_post = (await raw("/admin/logout", "POST", { host, cookie, origin: "http://evil.example" })).status;
report.login.null_post = (await raw("/admin/logout", "POST", { host, cookie, origin: "null" })).status;
report.login.still_in = (await raw("/admin", "GET", { host, cookie })).status;

// Every page that a click leads to; kinds that were seen least come first.
const kindOf = (url) => {
  const { pathname, searchParams } = new URL(url);
  const place = pathname.replace(/[0-9a-f]{12,}/g, "*").replace(/\/(events|turns)\/\d+/g, "/$1/*");
  return `${place}?${[...searchParams.keys()].sort()}`;
};
const seen = new Set();
const queue = [`${origin}/admin`];
while (queue.length > 0 && report.pages < pages_max) {
  let next = 0;
  let least = Infinity;
  queue.forEach((url, index) => {
    const count = report.kinds[kindOf(url)] ?? 0;
    if (count < least) [least, next] = [count, index];
  });
  const [url] = queue.splice(next, 1);
  if (seen.has(url)) continue;
  seen.add(url);
  if (/\/download(\?|$)/.test(url)) {
    // Never looked at: only that a browser would save it, and never show it.
    const answer = await raw(url.slice(origin.length), "GET", { host, cookie });
    const { "content-type": type, "content-disposition": disposition } = answer.headers;
    if (answer.status !== 200 || type !== "application/octet-stream" || !/^attachment\b/.test(disposition ?? "")) {
      found(`download: ${answer.status} ${type} ${disposition}`, url);
    }
    checkHeaders(answer.headers, url);
    report.downloads += 1;
    continue;
  }
  let response;
  try {
    const options = { waitUntil: "load", timeout: 20000 };
    // On a busy machine a visit may end without an answer; the page is there all the same.
    response = (await page.goto(url, options)) ?? (await page.reload(options));
  } catch (error) {
    found(`cannot be opened: ${String(error).split("\n")[0]}`, url);
    continue;
  }
  if (!response) {
    found("no answer", url);
    continue;
  }
  report.pages += 1;
  const kind = kindOf(url);
  report.kinds[kind] = (report.kinds[kind] ?? 0) + 1;
  if (!response.ok()) found(`status ${response.status()}`, url);
  checkHeaders(response.headers(), url);
  if (page.url() !== response.url()) found(`went on to ${page.url()}`, url);
  let result;
  try {
    result = await page.evaluate(audit, { origin, marks });
  } catch (error) {
    found(`went elsewhere while it was looked at: ${String(error).split("\n")[0]}`, url);
    continue;
  }
  result.findings.forEach((finding) => found(finding, url));
  for (const mark of result.marks) (report.marks[mark] ??= []).includes(kind) || report.marks[mark].push(kind);
  for (const target of result.links) {
    const clean = target.split("#")[0];
    if (target.startsWith(`${origin}/`) && !seen.has(clean)) queue.push(clean);
  }
}
report.left = queue.filter((url) => !seen.has(url)).length;

// Out again: the cookie is worth nothing afterwards. (Spoilt pages may be anything, so nobody looks for a button there.)
if (!sabotage) {
  await page.goto(`${origin}/admin`);
  await page.locator('form[action*="logout"] button').first().click();
  await page.waitForLoadState();
}
report.login.after_logout = (await raw("/admin", "GET", { host, cookie })).status;

// A request that is still under way belongs to nobody any more.
for (const context of browser.contexts()) await context.unrouteAll({ behavior: "ignoreErrors" });
await browser.close();
process.stdout.write(JSON.stringify(report));
