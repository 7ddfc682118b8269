/**
 * Links the first use of each word of docs/glossary.md on a page to the glossary, as a rule of
 * markdown-it. Headings, code and links stay as they are. Pure.
 */

/** Words whose ordinary meaning is more frequent: they are in the glossary, but not linked. */
const ORDINARY = ['share', 'floor', 'mode', 'budget'];

/** The words with their meaning, longest first, so that "unjudged frames" is not found as "frame". */
export function termsOf(glossary: string): { word: string; meaning: string }[] {
  const rows = [...glossary.matchAll(/^\| ([a-z][\w -]*) \| (.+) \|$/gm)].slice(1);
  return rows
    .map(([, word = '', meaning = '']) => ({ word, meaning: meaning.replaceAll('`', '') }))
    .sort((a, b) => b.word.length - a.word.length);
}

interface Token {
  type: string;
  content: string;
  children: Token[] | null;
  attrs: [string, string][] | null;
}
interface State {
  readonly tokens: Token[];
  readonly Token: new (type: string, tag: string, nesting: 1 | 0 | -1) => Token;
  readonly env: { readonly relativePath?: string };
}
/** The part of markdown-it that is used. */
export interface MarkdownIt {
  readonly core: { readonly ruler: { push(name: string, rule: (state: State) => void): void } };
}

/** @param address of the glossary in the site */
export function linkTerms(
  markdown: MarkdownIt,
  { glossary, address, isSkipped }: { glossary: string; address: string; isSkipped: (page: string) => boolean },
): void {
  const words = termsOf(glossary).filter(({ word }) => !ORDINARY.includes(word));
  const terms = words.map((term) => ({
    ...term,
    pattern: new RegExp(`(?<![\\w-])${term.word}(?:s|es)?(?![\\w-])`, 'i'),
  }));
  markdown.core.ruler.push('terms', (state) => {
    if (isSkipped(state.env.relativePath ?? '')) return;
    const open = new Set(terms);
    for (const [index, token] of state.tokens.entries()) {
      const isText = token.type === 'inline' && state.tokens[index - 1]?.type === 'paragraph_open';
      if (isText && token.children) token.children = linked(token.children, open, state);
    }
  });

  function linked(children: readonly Token[], open: Set<(typeof terms)[number]>, state: State): Token[] {
    let links = 0;
    return children.flatMap((child) => {
      if (child.type === 'link_open') links++;
      if (child.type === 'link_close') links--;
      return child.type === 'text' && links === 0 ? split(child, open, state) : [child];
    });
  }

  function split(token: Token, open: Set<(typeof terms)[number]>, state: State): Token[] {
    for (const term of open) {
      const match = term.pattern.exec(token.content);
      if (!match) continue;
      open.delete(term);
      const text = (content: string) => Object.assign(new state.Token('text', '', 0), { content });
      const start = new state.Token('link_open', 'a', 1);
      start.attrs = [
        ['href', `${address}#${anchorOf(term.word)}`],
        ['class', 'term'],
        ['title', term.meaning],
      ];
      const before = split(text(token.content.slice(0, match.index)), open, state);
      const after = split(text(token.content.slice(match.index + match[0].length)), open, state);
      return [...before, start, text(match[0]), new state.Token('link_close', 'a', -1), ...after];
    }
    return [token];
  }
}

/** Anchor of a word in the glossary. */
export const anchorOf = (word: string): string => `term-${word.replaceAll(' ', '-')}`;

/** Gives each row of the glossary its anchor: a rule for its page alone. */
export function anchorTerms(markdown: MarkdownIt, isGlossary: (page: string) => boolean): void {
  markdown.core.ruler.push('term-anchors', (state) => {
    if (!isGlossary(state.env.relativePath ?? '')) return;
    for (const [index, token] of state.tokens.entries()) {
      const isFirst = token.type === 'td_open' && state.tokens[index - 1]?.type === 'tr_open';
      if (isFirst) token.attrs = [['id', anchorOf(state.tokens[index + 1]?.content ?? '')]];
    }
  });
}
