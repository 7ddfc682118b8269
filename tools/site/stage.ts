/**
 * Copies the Markdown of the repository into a directory from which VitePress builds the site. Links to
 * files that are no pages lead to copies of them, as text, and links to folders to a list of their
 * files.
 */
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** Relative targets of Markdown links, outside of code. */
const LINK = /(\]\()([^()\s#]+)(#[^()\s]*)?(\))/g;
/** Notes for those who edit the file. */
const COMMENT = /^<!--[\s\S]*?-->\n*/gm;
const isExternal = (target: string): boolean => /^([a-z]+:|\/)/.test(target);

/** Applies `change` to the text outside of fenced code. */
function outsideCode(text: string, change: (part: string) => string): string {
  return text
    .split(/^(```[\s\S]*?^```.*$)/m)
    .map((part) => (part.startsWith('```') ? part : change(part)))
    .join('');
}

export interface Stage {
  readonly root: string;
  /** Emptied first. */
  readonly directory: string;
  /** Files of the repository, relative to `root`. */
  readonly files: readonly string[];
}

/** A folder to which a page links, and which has no README, gets a list of its files. @returns pages without `.md`. @throws Error for a link whose target does not exist */
export function stage({ root, directory, files }: Stage): Set<string> {
  rmSync(directory, { recursive: true, force: true });
  const pages = files.filter((file) => file.endsWith('.md') && !file.startsWith('tools/'));
  const known = new Set(pages);
  const folders = new Set<string>();
  const put = (file: string, text: string) => {
    mkdirSync(path.dirname(path.join(directory, file)), { recursive: true });
    writeFileSync(path.join(directory, file), text);
  };
  const target = (page: string, link: string): string => {
    const file = path.join(path.dirname(page), link);
    if (known.has(file)) return placeOf(file, page);
    if (!existsSync(path.join(root, file))) throw new Error(`${page}: the link ${link} leads to no file`);
    if (statSync(path.join(root, file)).isDirectory()) {
      const name = file.replace(/\/$/, '');
      folders.add(name);
      return `/${name}/`;
    }
    const copy = path.join(directory, 'public/source', `${file}.txt`);
    mkdirSync(path.dirname(copy), { recursive: true });
    copyFileSync(path.join(root, file), copy);
    // VitePress would look for a page.
    return `/source/${file}.txt`;
  };
  for (const page of pages) {
    const text = readFileSync(path.join(root, page), 'utf8');
    const linked = outsideCode(text, (part) =>
      part
        .replaceAll(COMMENT, '')
        .replaceAll(LINK, (whole, open: string, link: string, anchor = '', close: string) =>
          isExternal(link) ? whole : `${open}${target(page, link)}${anchor}${close}`,
        ),
    );
    put(nameOf(page), linked);
  }
  const indexed = [...folders].filter((folder) => !known.has(`${folder}/README.md`));
  for (const folder of indexed) {
    const entries = files
      .filter((file) => file.startsWith(`${folder}/`))
      .map((file) => {
        const name = file.slice(folder.length + 1);
        const heading = known.has(file)
          ? /^# (.+)$/m.exec(readFileSync(path.join(root, file), 'utf8'))?.[1]
          : undefined;
        return `- [${heading ?? name}](${target(`${folder}/index.md`, name)})\n`;
      });
    put(`${folder}/index.md`, `# ${folder === 'docs/adr' ? 'Decisions' : folder}\n\n${entries.join('')}`);
  }
  put('index.md', readFileSync(path.join(import.meta.dirname, 'home.md'), 'utf8'));
  cpSync(path.join(import.meta.dirname, 'theme'), path.join(directory, '.vitepress/theme'), { recursive: true });
  const all = [...pages, ...indexed.map((folder) => `${folder}/index.md`)];
  return new Set(all.map((page) => page.slice(0, -'.md'.length)));
}

/** A README is the index of its folder; that of the root is a page beside the home page. */
const nameOf = (page: string): string =>
  page === 'README.md' ? 'overview.md' : page.replace(/\/README\.md$/, '/index.md');
const placeOf = (file: string, from: string): string => {
  const relative = path.relative(path.dirname(nameOf(from)), nameOf(file));
  return relative.startsWith('.') ? relative : `./${relative}`;
};
