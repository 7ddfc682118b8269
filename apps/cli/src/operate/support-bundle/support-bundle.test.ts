import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { describe, expect, it } from 'vitest';
import { tar } from '../../shared/tar.ts';
import { redact, redactValue } from './redact.ts';

const base64url = (text: string) => Buffer.from(text).toString('base64url');
const line = (words: string) => `-----${words} PRIVATE KEY-----`;

describe('redact', () => {
  const S = 'hunter22';
  const encoded = Buffer.from(`${line('BEGIN EC')}\n${S}`).toString('base64');
  it.each([
    [`Authorization: Bearer ${S}abc`, S],
    [`"Authorization: Splunk ${S}"`, S],
    [`{"headers":{"authorization":["Token ${S}"]}}`, S],
    [`Set-Cookie: sid=${S}; Path=/`, S],
    [`{"password":"two ${S}"}`, S],
    [`{"password":"a\\"${S}"}`, S],
    [`{"password":{"value":"${S}"}}`, S],
    [`{"passwords":["a","${S}"]}`, S],
    [`{"msg":"{\\"token\\":\\"a ${S}\\"}"}`, S],
    [`{"\\u0070assword":"${S}"}`, S],
    [`{"passwordHash":"${S}"}`, S],
    [`{"password":"cut ${S}`, S],
    [`{\\"token\\":\\"a ${S}\\"}`, S],
    [`natsPassword=${S} level=info`, S],
    [`password=a,'}${S} level=info`, S],
    [`password: |\n  ${S}`, S],
    [`pass: ${S}`, S],
    [`AWS_SECRET_ACCESS_KEY=${S}`, S],
    [`started with --nats-password ${S}`, S],
    [`https://host/x?sig=${S}&a=1`, S],
    [`${['{"alg":"RS256"}', '{"sub":"x"}'].map(base64url).join('.')}.c2lnbmF0dXJl`, 'c2lnbmF0dXJl'],
    [`nats://cli:${S}@bus:4222`, S],
    [`nats://cli:p@/${S}@bus:4222`, S],
    [`seed\\nSUA${'A'.repeat(55)}`, 'AAAA'],
    [`hash $2a$11$${'b'.repeat(53)}`, 'bbbb'],
    [`tls.key: ${encoded}`, encoded.slice(-12)],
    [`${line('BEGIN EC')}\nMHcCAQ\n${line('END EC')}\nafter`, 'MHcCAQ'],
    [`${line('BEGIN')}\nMHcCAQ`, 'MHcCAQ'],
    [`MHcCAQ\nMHcCAR\n${line('END EC')}\nafter`, 'MHcCAQ'],
    [`${line('BEGIN EC')}\n{"msg":"between"}\nMHcCAQ\n${line('END EC')}\nafter`, 'MHcCAQ'],
  ])('%s', (text, secret) => {
    expect(text).toContain(secret);
    expect(redact(text)).not.toContain(secret);
    expect(redact(text)).toContain('[redacted]');
  });

  it.each([
    'policy service-account-token-guard denied a read',
    '{"reason":"the bus refused the login","tokens":12,"password":null,"signature":""}',
    '{"natsPasswordFile":"/etc/bailiff/password"}',
    'pod shop/web-0 on node-a sent 322 packets by bypass: 3',
    'tls://bailiff-nats.bailiff-system.svc:4222',
  ])('what is no secret stays - %s', (text) => {
    expect(redact(text)).toBe(text);
  });

  it('of two fields of one name, the first is removed', () => {
    expect(redact('{"a":"Bearer hunter22","a":"b"}')).toBe('{"a":"b"}');
  });

  it('the rest of a line with a secret stays', () => {
    const text = '{"authorization":"Bearer hunter22","msg":"refused"}\n{"msg":"next"}\npassword=hunter22 level=info';
    expect(redact(text)).toBe(
      '{"authorization":"[redacted]","msg":"refused"}\n{"msg":"next"}\npassword=[redacted] level=info',
    );
  });

  it('of an object, by the names of its fields', () => {
    expect(redactValue({ a: [{ token: 'x', count: 1 }], pass: 'y', url: 'nats://a:b@c' })).toEqual({
      a: [{ token: '[redacted]', count: 1 }],
      pass: '[redacted]',
      url: 'nats://[redacted]@c',
    });
  });

  // Quadratic time would be hours for a log of 8 MiB.
  it.each([
    ['a-', 1_000_000],
    ['-eyJ', 500_000],
    [['\\ney', 'Jabcdefgh'].join(''), 100_000],
    ['a://', 200_000],
    [`${'-'.repeat(5)}BEGIN `, 100_000],
    [`${line('BEGIN')} `, 50_000],
    ['password ', 200_000],
    ['--a', 500_000],
    ['password="\\', 100_000],
    ['{"a":[', 100_000],
    ['AAAA\n', 200_000],
    ['\\', 500_000, 'password=\\"'],
  ])('takes linear time for a line of %j', (part, times, before = '') => {
    // The time of the processor, which other work of the machine does not lengthen.
    const start = process.cpuUsage();
    redact(before + part.repeat(times));
    expect(process.cpuUsage(start).user).toBeLessThan(20_000_000);
  });

  it('values that are nested deeper than a stack are removed', () => {
    const deep = `{"a":${'['.repeat(100_000)}"hunter22"${']'.repeat(100_000)}}`;
    expect(redact(deep)).not.toContain('hunter22');
  });
});

it('archive - tar reads every file, of every length, with its content', () => {
  const directory = temporaryDirectory();
  const files = new Map([0, 1, 511, 512, 513, 4_096].map((size) => [`d/${size}.txt`, 'ä'.repeat(size)]));
  writeFileSync(path.join(directory, 'a.tar'), tar(files, 1_700_000_000_000));
  execFileSync('tar', ['xf', 'a.tar'], { cwd: directory });
  for (const [name, text] of files) expect(readFileSync(path.join(directory, name), 'utf8')).toBe(text);
});
