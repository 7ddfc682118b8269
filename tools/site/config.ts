/** Settings of VitePress for the site of the documentation. tools/site/main.ts builds it. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { addressOf, type Section } from './navigation.ts';
import { anchorTerms, linkTerms, type MarkdownIt } from './terms.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const GLOSSARY = 'docs/glossary.md';
/** Generated tables, logs and lists: words there are not at their first use. */
const WITHOUT_TERMS = /^(docs\/(glossary|reference\/.*|benchmarks|adr\/.*)|CHANGELOG|index)\.?(md)?/;

/** Anchors of headings, as forges create them: links hold in both. */
export const slugOf = (text: string): string =>
  text
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');

/** The index of the search has no colours of code, which take half of its time. */
function withoutColours(text: string, env: object, markdown: Renderer): string {
  markdown.options.highlight = null;
  return markdown.render(text, env);
}
interface Renderer {
  options: { highlight?: unknown };
  render(text: string, env: object): string;
}

export const configOf = (sections: readonly Section[]): object => ({
  title: 'Bailiff',
  description:
    'Enforces in the Linux kernel which network identity a Kubernetes pod may use and what its programs may do',
  lang: 'en',
  cleanUrls: false,
  // No address outside the site is asked, not even for a font.
  head: [
    ['meta', { name: 'referrer', content: 'no-referrer' }],
    ['link', { rel: 'icon', href: '/icon.svg', type: 'image/svg+xml' }],
  ],
  markdown: {
    // Angle brackets in the text are words such as <name>.
    html: false,
    anchor: { slugify: slugOf },
    theme: { light: 'github-light-high-contrast', dark: 'github-dark' },
    config: (markdown: MarkdownIt) => {
      linkTerms(markdown, {
        glossary: readFileSync(path.join(ROOT, GLOSSARY), 'utf8'),
        address: '/docs/glossary.html',
        isSkipped: (page) => WITHOUT_TERMS.test(page),
      });
      anchorTerms(markdown, (page) => page === GLOSSARY);
    },
  },
  // The index of the search is one file.
  vite: { build: { chunkSizeWarningLimit: 4_000 } },
  themeConfig: {
    nav: sections
      .filter(({ title }) => title !== 'More')
      .map(({ title, pages }) => ({ text: title, link: addressOf(pages[0]?.[1] ?? 'README') })),
    sidebar: sections.map(({ title, pages }) => ({
      text: title,
      collapsed: true,
      items: pages.map(([text, page]) => ({ text, link: addressOf(page) })),
    })),
    outline: { level: [2, 3] },
    search: { provider: 'local', options: { _render: withoutColours } },
    docFooter: { prev: false, next: false },
    externalLinkIcon: true,
  },
});
