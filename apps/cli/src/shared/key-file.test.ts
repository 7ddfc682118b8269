// A file that is not a usable key: what is wrong with it, and what to do.

import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { beforeAll, expect, it } from 'vitest';
import { runCli } from '../testing.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
const pem = { type: 'pkcs8', format: 'pem' } as const;

let directory: string;
beforeAll(() => {
  directory = temporaryDirectory();
  const files = {
    anna: privateKey.export(pem),
    locked: privateKey.export({ ...pem, cipher: 'aes-256-cbc', passphrase: 'x' }),
    public: publicKey.export({ type: 'spki', format: 'pem' }),
    rsa: rsa.export(pem),
    text: 'hello\n',
    'a b': privateKey.export(pem),
  };
  for (const [name, content] of Object.entries(files)) writeFileSync(path.join(directory, `${name}.key`), content);
  mkdirSync(path.join(directory, 'folder.key'));
});

it.each([
  ['absent', /absent\.key does not exist\n {2}check the path/],
  ['folder', /folder\.key is a directory, not a private key\n {2}make one with `openssl genpkey/],
  ['locked', /locked\.key has a passphrase\n {2}decrypt it .*openssl pkey -in \S+locked\.key/],
  ['public', /public\.key is not a private key in PEM\n {2}make one/],
  ['rsa', /rsa\.key is not an Ed25519 key\n {2}make one/],
  ['text', /text\.key is not a private key in PEM\n {2}make one/],
  ['a b', /"a b" is not the name of a signer\n {2}the file of a key is named after its signer/],
])('%s - the file is named, and what to do', async (name, text) => {
  const done = await runCli(['config', 'signer', path.join(directory, `${name}.key`)]);
  expect(done).toMatchObject({ exitCode: 2, stdout: '', stderr: expect.stringMatching(text) });
});

it('a good key - is printed; the control', async () => {
  const done = await runCli(['config', 'signer', path.join(directory, 'anna.key')]);
  expect(done).toMatchObject({ exitCode: 0, stderr: '', stdout: expect.stringMatching(/^anna\+/) });
});
