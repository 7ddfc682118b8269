import { describe, expect, it } from 'vitest';
import { captureCli } from '../../testing.ts';
import { coloured } from './paint.ts';
import { oneLine, terminalSafe } from './terminal.ts';

const HOSTILE = '\u001b[31mred\u001b]0;title\u0007\u009b2J\u202etxt.exe\u200b\u{e0041}\ufe0f\u115f\u2800\r\t';

describe('terminal', () => {
  it('own styles become escape sequences, those of others their codes', () => {
    const { io, stdout, stderr } = captureCli({ terminal: 80 });
    const safe = terminalSafe(io);
    safe.stdout.write(`${coloured('drop', 'red', 'bold')} ${HOSTILE}\n`);
    expect(stdout().startsWith('\u001b[31;1mdrop\u001b[0m \\u001b[31mred')).toBe(true);
    expect(stdout().slice('\u001b[31;1mdrop\u001b[0m'.length, -1)).not.toMatch(/[\p{Cc}\p{Cf}\p{DI}]/u);
    safe.stderr.write(HOSTILE);
    expect(stderr()).not.toMatch(/[\p{Cc}\p{Cf}\p{DI}]/u);
  });

  it('a mark that is guessed, or is of another process, is text', () => {
    const { io, stdout } = captureCli({ terminal: 80 });
    terminalSafe(io).stdout.write('\u001b<0123456789abcdef31mred');
    expect(stdout()).toBe('\\u001b<0123456789abcdef31mred');
  });

  it('a line is one line, and styles of its own stay', () => {
    const { io, stdout } = captureCli({ terminal: 80 });
    const line = oneLine(`${coloured('a\nb', 'dim')}\nforged row`);
    terminalSafe(io).stdout.write(line);
    expect(stdout()).toBe('\u001b[2ma b\u001b[0m forged row');
  });

  it('questions are shown so too, and what a command sets stays', async () => {
    const { io, stderr } = captureCli({ answers: ['yes'] });
    const safe = terminalSafe(io);
    await safe.ask(`delete ${HOSTILE}?\n`);
    expect(stderr()).not.toMatch(/[^\P{Cc}\n]|[\p{Cf}\p{DI}]/u);
    safe.exitCode = 4;
    expect(safe.exitCode).toBe(4);
    expect(safe.signal).toBe(io.signal);
  });
});
