// CPU of a server for logins with a wrong password, which everyone who reaches port 4222 may try.
import { readFileSync } from 'node:fs';
import { userOf } from '@bailiff/bus';
import { startNats, testUsers } from '@bailiff/bus/testing';
import bcrypt from 'bcryptjs';
import { expect, test } from 'vitest';
import { makersOf } from '../../apps/cli/src/operate/credentials/steps.ts';
import { captureCli } from '../../apps/cli/src/testing.ts';
import { RawNats } from '../support/raw-nats.ts';

const LOGINS = 60;
const USER = userOf({ role: 'cli' });
/** User and system time of all threads. */
const cpuMs = (pid: number) => {
  const fields = (readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1) as string).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
};

async function loginCpuMs(hash: string): Promise<number> {
  const users = testUsers([]).map((user) => (user.user === USER ? { ...user, password: hash } : user));
  await using nats = await startNats({ users });
  await nats.connect(USER, { password: 'right' });
  const before = cpuMs(nats.pid);
  for (let left = LOGINS; left > 0; left -= 1) {
    const { port } = nats;
    await expect(RawNats.connect({ port, user: USER, password: 'wrong' })).rejects.toThrow(
      /Authorization Violation|ended the connection/,
    );
  }
  return cpuMs(nats.pid) - before;
}

test('login cost - a wrong password costs a server less than half of what a cost of 6 takes', async () => {
  const ours = await makersOf(captureCli().io).hash('right');
  const control = (await bcrypt.hash('right', 6)).replace(/^\$2b/, '$2a');
  const [cheap, dear] = [await loginCpuMs(ours), await loginCpuMs(control)];
  expect(dear, `${LOGINS} logins: ${cheap} ms, control ${dear} ms`).toBeGreaterThan(2 * cheap);
});
