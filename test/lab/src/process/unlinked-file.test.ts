import { spawnSync } from 'node:child_process';
import { closeSync, readlinkSync } from 'node:fs';
import { expect, it } from 'vitest';
import { lastLines, namelessFile } from './unlinked-file.ts';

it('a nameless file - holds what a child wrote, of which the last lines are shown, and is nowhere', () => {
  const file = namelessFile();
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
