/** Files that are no backup, or a manipulated one, are refused before a bus is used. */

import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { beforeAll, expect, it } from 'vitest';
import { headerOf, paddingOf } from '../../shared/tar.ts';
import { runCli } from '../../testing.ts';

let directory: string;
beforeAll(() => {
  directory = temporaryDirectory();
});

const SNAPSHOT = 'abc';
const manifest = (over: object = {}, config: object = {}) =>
  JSON.stringify({
    format: 'bailiff-backup',
    version: 1,
    bailiff: '1',
    natsServer: '2',
    startedAt: '2026-01-01T00:00:00Z',
    finishedAt: '2026-01-01T00:00:00Z',
    absent: [],
    streams: [
      {
        name: 'VERDICTS',
        bytes: SNAPSHOT.length,
        sha256: createHash('sha256').update(SNAPSHOT).digest('hex'),
        config: { name: 'VERDICTS', num_replicas: 1, ...config },
        state: { messages: 1, first_seq: 1, last_seq: 1 },
      },
    ],
    ...over,
  });

/** @param bytes a false size */
const entry = (name: string, text: string, bytes = Buffer.byteLength(text)) =>
  Buffer.concat([headerOf(name, bytes, 0), Buffer.from(text), Buffer.alloc(paddingOf(Buffer.byteLength(text)))]);
const tar = (...entries: Buffer[]) => Buffer.concat([...entries, Buffer.alloc(1024)]);
const snapshot = entry('VERDICTS.snapshot', SNAPSHOT);
const last = entry('manifest.json', manifest());

const verify = (content: Buffer) => {
  const file = path.join(directory, 'backup.tar');
  writeFileSync(file, content);
  return runCli(['restore', file, '--dry-run']);
};

it('the control: a whole backup is accepted', async () => {
  expect(await verify(tar(snapshot, last))).toMatchObject({ exitCode: 0 });
});

it.each<[string, Buffer, RegExp]>([
  ['a manifest that is null', tar(entry('manifest.json', 'null')), /it is not a backup of Bailiff/],
  ['a manifest that is cut', tar(snapshot, last).subarray(0, 1_700), /manifest.json is not JSON/],
  [
    'a newer format',
    tar(snapshot, entry('manifest.json', manifest({ version: 2 }))),
    /is version 2; this command reads version 1, so use that of the Bailiff that made it/,
  ],
  [
    'the configuration of another stream',
    tar(snapshot, entry('manifest.json', manifest({}, { name: 'KV_x' }))),
    /VERDICTS has the configuration of KV_x/,
  ],
  ['a path', tar(entry('../../VERDICTS.snapshot', SNAPSHOT), last), /snapshot of VERDICTS is damaged/],
  ['two files of one name', tar(snapshot, snapshot, last), /other files than a backup has/],
  ['a size beyond the file', tar(entry('VERDICTS.snapshot', SNAPSHOT, 2 ** 50), last), /no manifest.json/],
  ['a large manifest', tar(snapshot, entry('manifest.json', manifest(), 2 ** 40)), /manifest.json is too large/],
  ['another content', tar(entry('VERDICTS.snapshot', 'abd'), last), /snapshot of VERDICTS is damaged/],
  // Without a bound, 400,000 of them took 44 s and 800 MB.
  [
    'many files',
    tar(...Array.from({ length: 65 }, (_, at) => entry(`f${at}`, '')), snapshot, last),
    /other files than a backup has/,
  ],
])('%s - is refused', async (_, content, why) => {
  expect(await verify(content)).toMatchObject({ exitCode: 2, stdout: '', stderr: expect.stringMatching(why) });
});

it('a folder - is refused, and is no bug', async () => {
  expect(await runCli(['restore', directory, '--dry-run'])).toMatchObject({
    exitCode: 2,
    stderr: expect.stringMatching(/is not a regular file/),
  });
});
