/**
 * Commands of a page: lines of its shell blocks, and code between backticks that begins with the
 * name of a program. Pure.
 */
const PROGRAMS =
  /^(npx |IMAGE=|bailiff |kubectl |helm |nats |nats-server |collector |curl |bpftool |ss |find |ip |nsenter |rm |chronyc |echo |mkdir |export |sh |rmmod |scripts\/|docker |oc |tar |ctr |for |while |\[ )/;

/** Blocks of a shell; without a language, text that begins like a command. */
const BLOCK = /^ *```(\w*)\n([\s\S]*?)^ *```$/gm;

/** A command per element, in the order of the page; lines that end in a backslash are joined. */
export function commandsOf(page: string): string[] {
  const shells = [...page.matchAll(BLOCK)].filter(([, language]) => language === '' || language === 'sh');
  const blocks = shells.flatMap(([, , text = '']) =>
    text
      .replaceAll(/\\\n\s*/g, '')
      .split('\n')
      .map((line) => line.trim()),
  );
  const prose = page.replaceAll(/^ *```[\s\S]*?^ *```$/gm, '');
  const inline = [...prose.matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code);
  return [...blocks, ...inline]
    .map((line) => line.replace(/ {2,}#.*$/, '').trim())
    .filter((line) => PROGRAMS.test(line));
}
