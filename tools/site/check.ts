/** Checks the links of a built site: every address within it is a file, and every anchor an element. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';

const decode = (text: string): string => decodeURIComponent(text.replaceAll('&amp;', '&'));

/** One line for each broken link: page, and target. */
export function brokenLinks(directory: string): string[] {
  const pages = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.html'));
  const texts = new Map(pages.map((page) => [page, readFileSync(path.join(directory, page), 'utf8')]));
  const anchors = new Map([...texts].map(([page, text]) => [page, anchorsOf(text)]));
  return [...texts].flatMap(([page, text]) => {
    const links = [...text.matchAll(/<a\b[^>]*?\shref="([^"]*)"/g)].map(([, link = '']) => link);
    const broken = [...new Set(links)].filter((link) => !isFound(directory, anchors, page, link));
    return broken.map((link) => `${page}: ${link}`);
  });
}

const anchorsOf = (text: string): Set<string> =>
  new Set([...text.matchAll(/\sid="([^"]*)"/g)].map(([, id = '']) => decode(id)));

function isFound(
  directory: string,
  anchors: ReadonlyMap<string, ReadonlySet<string>>,
  page: string,
  link: string,
): boolean {
  if (/^[a-z]+:/.test(link)) return true;
  const [address = '', anchor = ''] = link.split('#').map(decode);
  const from = address.startsWith('/') ? address.slice(1) : path.join(path.dirname(page), address);
  const file = address === '' ? page : fileOf(directory, from);
  if (file === null) return false;
  return anchor === '' || anchors.get(file)?.has(anchor) === true;
}

function fileOf(directory: string, address: string): string | null {
  const names = [address, `${address}.html`, path.join(address, 'index.html')].map((name) => path.normalize(name));
  const isFile = (name: string) =>
    existsSync(path.join(directory, name)) && statSync(path.join(directory, name)).isFile();
  return names.find(isFile) ?? null;
}
