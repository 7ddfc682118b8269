import { expect, it } from 'vitest';
import { MAX_SESSIONS, MAX_TOKENS, type Opened, SESSION_MS, Sessions } from './sessions.ts';

const open = (sessions: Sessions): Opened => {
  const opened = sessions.open(sessions.issue());
  if (!opened) throw new Error('the token did not open a session');
  return opened;
};

it('token - opens one session, once; another text opens none', () => {
  const sessions = new Sessions(() => 0);
  const token = sessions.issue();
  expect(sessions.open(`${token}x`)).toBeNull();
  expect(sessions.open('')).toBeNull();
  const opened = sessions.open(token);
  expect(opened && sessions.isOpen(opened.cookie, opened.key)).toBe(true);
  expect(sessions.open(token)).toBeNull();
});

it('session - needs cookie and key of the same session', () => {
  const sessions = new Sessions(() => 0);
  const [first, second] = [open(sessions), open(sessions)];
  expect(sessions.isOpen(first.cookie, second.key)).toBe(false);
  expect(sessions.isOpen(first.cookie, '')).toBe(false);
  expect(sessions.isOpen('', first.key)).toBe(false);
  expect(sessions.isOpen(first.cookie, first.key)).toBe(true);
});

it('session - ends after its time', () => {
  let nowMs = 0;
  const sessions = new Sessions(() => nowMs);
  const { cookie, key } = open(sessions);
  nowMs = SESSION_MS - 1;
  expect(sessions.isOpen(cookie, key)).toBe(true);
  nowMs = SESSION_MS;
  expect(sessions.isOpen(cookie, key)).toBe(false);
});

it('bounds - the oldest token and the oldest session end first', () => {
  const sessions = new Sessions(() => 0);
  const [oldToken = '', ...tokens] = Array.from({ length: MAX_TOKENS + 1 }, () => sessions.issue());
  expect(sessions.open(oldToken)).toBeNull();
  expect(sessions.open(tokens.at(-1) ?? '')).not.toBeNull();
  const opened = Array.from({ length: MAX_SESSIONS + 1 }, () => open(sessions));
  const isOpen = ({ cookie, key }: Opened) => sessions.isOpen(cookie, key);
  expect([opened[0], opened[1], opened.at(-1)].map((one) => isOpen(one as Opened))).toEqual([false, true, true]);
});
