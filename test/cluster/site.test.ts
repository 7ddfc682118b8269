// The site of the documentation: `npm run site` builds it, and Chromium shows it on a wide and a narrow
// screen, light and dark.

import { execFile } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { promisify } from 'node:util';
import { temporaryDirectory } from '@bailiff/service/testing';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newPage, readText, startBrowser } from '../support/browser.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const NO_GENERATOR = 'no site generator: npm run site -- --install';
const isInstalled = existsSync(path.join(ROOT, 'tools/site/node_modules/.bailiff-lock'));
/** Fifteen seconds of processor time, on a machine that does much else. */
const BUILD_TIMEOUT_MS = 600_000;
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
};
const PAGES = [
  '/',
  '/overview.html',
  '/docs/install.html',
  '/docs/on-call.html',
  '/docs/reference/config.html',
  '/docs/threat-model.html',
];
/** Headings in the outline that end outside the screen, or are cut off. */
const CUT_OFF = `[...document.querySelectorAll('.outline-link')].filter((link) => link.offsetParent !== null
  && (link.getBoundingClientRect().right > innerWidth || link.scrollWidth > link.clientWidth)).map((link) => link.textContent)`;

const site = temporaryDirectory();
const server = http.createServer((request, response) => {
  const name = decodeURIComponent(new URL(request.url ?? '/', 'http://site').pathname);
  const file = path.join(site, name.endsWith('/') ? `${name}index.html` : name);
  const isFile = existsSync(file) && statSync(file).isFile();
  response.writeHead(isFile ? 200 : 404, { 'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream' });
  response.end(isFile ? readFileSync(file) : '');
});
let browser: Browser;
let base = '';

beforeAll(async () => {
  if (!isInstalled) return;
  await promisify(execFile)(process.execPath, ['--import', 'tsx', 'tools/site/main.ts', '--out', site], { cwd: ROOT });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  base = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
  browser = await startBrowser();
}, BUILD_TIMEOUT_MS);
afterAll(async () => {
  await browser?.close();
  server.close();
});

describe('site', () => {
  it.for([
    [1280, 'light'],
    [390, 'dark'],
  ] as const)(
    '%i pixels, %s - pages fit, load everything from the site, and have no errors',
    async ([width, scheme], context) => {
      if (!isInstalled) return context.skip(NO_GENERATOR);
      const viewport = { width, height: 900 };
      const { page, errors } = await newPage(browser, { viewport, colorScheme: scheme });
      const foreign: string[] = [];
      page.on('request', (request) => {
        if (!request.url().startsWith(base)) foreign.push(request.url());
      });
      for (const address of PAGES) {
        await page.goto(base + address, { waitUntil: 'networkidle' });
        expect(await page.evaluate('document.documentElement.scrollWidth'), address).toBeLessThanOrEqual(width);
        expect(await page.evaluate(CUT_OFF), address).toEqual([]);
        expect(await readText(page.locator('h1').first()), address).not.toBe('');
      }
      const isDark = await page.evaluate("document.documentElement.classList.contains('dark')");
      expect([isDark, errors, foreign]).toEqual([scheme === 'dark', [], []]);
      await page.context().close();
    },
  );

  it('the search finds a page, and its first use of a word leads to the glossary', async (context) => {
    if (!isInstalled) return context.skip(NO_GENERATOR);
    const { page, errors } = await newPage(browser);
    await page.goto(`${base}/`, { waitUntil: 'networkidle' });
    await page.locator('.VPNavBarSearch button').first().click();
    await page.locator('#localsearch-input').fill('orphaned interfaces');
    await page.locator('.results a').first().click();
    await page.waitForURL(/operations|glossary/);
    await page.goto(`${base}/docs/install.html`, { waitUntil: 'networkidle' });
    const terms = page.locator('a.term');
    const words = (await terms.allInnerTexts()).map((word) => word.toLowerCase().replace(/s$/, ''));
    expect(words.length).toBeGreaterThan(0);
    expect(new Set(words).size).toBe(words.length);
    await terms.first().click();
    await page.waitForURL(/docs\/glossary\.html#term-/);
    await page.locator(`[id="${new URL(page.url()).hash.slice(1)}"]`).waitFor({ state: 'attached' });
    expect(errors).toEqual([]);
    await page.context().close();
  });
});
