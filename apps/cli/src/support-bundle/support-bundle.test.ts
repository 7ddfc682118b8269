import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { tar } from './archive.ts';
import { redact } from './redact.ts';

const base64url = (text: string) => Buffer.from(text).toString('base64url');
const line = (words: string) => `-----${words} PRIVATE KEY-----`;

describe('redact', () => {
  it.each([
    ['Authorization: Bearer abcdefgh12345678', 'abcdefgh'],
    ['{"password":"hunter22"}', 'hunter22'],
    ['natsPassword=hunter22 level=info', 'hunter22'],
    ['{\\"token\\":\\"hunter22\\"}', 'hunter22'],
    [`${['{"alg":"RS256"}', '{"sub":"x"}'].map(base64url).join('.')}.c2lnbmF0dXJl`, 'c2lnbmF0dXJl'],
    ['nats://cli:hunter22@bus:4222', 'hunter22'],
    [`seed SUA${'A'.repeat(55)}`, 'AAAA'],
    [`${line('BEGIN EC')}\nMHcCAQ\n${line('END EC')}\nafter`, 'MHcCAQ'],
    [`${line('BEGIN')}\nMHcCAQ`, 'MHcCAQ'],
  ])('%s', (text, secret) => {
    expect(text).toContain(secret);
    expect(redact(text)).not.toContain(secret);
    expect(redact(text)).toContain('[redacted]');
  });

  it.each([
    'policy service-account-token-guard denied a read',
    '{"reason":"the bus refused the login"}',
    'pod shop/web-0 on node-a sent 322 packets',
    'tls://bailiff-nats.bailiff-system.svc:4222',
  ])('what is no secret stays - %s', (text) => {
    expect(redact(text)).toBe(text);
  });
});

it('archive - tar reads every file, of every length, with its content', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-tar-'));
  try {
    const files = new Map([0, 1, 511, 512, 513, 4_096].map((size) => [`d/${size}.txt`, 'ä'.repeat(size)]));
    writeFileSync(path.join(directory, 'a.tar'), tar(files, 1_700_000_000_000));
    execFileSync('tar', ['xf', 'a.tar'], { cwd: directory });
    for (const [name, text] of files) expect(readFileSync(path.join(directory, name), 'utf8')).toBe(text);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
