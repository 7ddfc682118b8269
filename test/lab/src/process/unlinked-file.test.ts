import { spawnSync } from 'node:child_process';
import { closeSync, readlinkSync } from 'node:fs';
import { expect, it } from 'vitest';
import { lastLines, unlinkedFile } from './unlinked-file.ts';

it('unlinked file - contains the output of a child, shows its last lines, has no path', () => {
  const file = unlinkedFile();
  try {
    expect(lastLines(file)).toBe('');
    const { status } = spawnSync('seq', ['100'], { stdio: ['ignore', file, 'inherit'] });
    expect(status).toBe(0);
    const shown = lastLines(file).split('\n');
    expect([shown[0], shown[1], shown.at(-1), shown.length]).toEqual([':', '71', '100', 31]);
    expect(readlinkSync(`/proc/self/fd/${file}`)).toMatch(/ \(deleted\)$/);
  } finally {
    closeSync(file);
  }
});
