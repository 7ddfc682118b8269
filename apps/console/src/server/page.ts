/**
 * Files of the page. A bundle of the CLI has them compiled in (tools/bundle.ts); in a checkout,
 * `npm run build` writes them to dist/page.json.
 */
import { readFileSync } from 'node:fs';

/** Content by path: `/app.js`. */
export type PageFiles = Readonly<Record<string, string>>;

/** A checkout without dist/page.json: `npx nx run @bailiff/console:build`. */
export class PageNotBuilt extends Error {
  readonly code = 'PAGE_NOT_BUILT';
}

/** @throws PageNotBuilt */
export function pageFiles(): PageFiles {
  const compiled = process.env.BAILIFF_CONSOLE_PAGE;
  if (compiled !== undefined) return JSON.parse(compiled) as PageFiles;
  try {
    return JSON.parse(readFileSync(new URL('../../dist/page.json', import.meta.url), 'utf8')) as PageFiles;
  } catch (cause) {
    throw new PageNotBuilt('the page is not built', { cause });
  }
}

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
};

export const typeOf = (path: string): string =>
  TYPES[path.slice(path.lastIndexOf('.') + 1)] ?? 'application/octet-stream';

/** Paths of the pages: each is the same document, which reads its own path. */
export const PAGES: readonly string[] = ['/', '/graph', '/policies', '/what-if', '/verdict', '/pod', '/history'];
export const DOCUMENT = '/index.html';

/** On every response. */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': [
    "default-src 'self'",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'x-frame-options': 'DENY',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
};
