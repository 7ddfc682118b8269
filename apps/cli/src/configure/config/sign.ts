/**
 * `config signer`, `config sign` and `config sign-resource`: signed configuration (ADR 36). `sign` writes stored values
 * again with a signature. Each write names the revision that was shown.
 */
import { CONFIG_BUCKET, openBucket, type StoredConfig, storedConfig, writeConfig } from '@bailiff/bus';
import { type ConfigKey, formatConfigKey } from '@bailiff/policy';
import { formatVerifierKey, verifierKey } from '@bailiff/policy/note';
import { plural } from '@bailiff/response';
import type { Command } from 'commander';
import { type ChangeOptions, isSignedAs, noteOf, valueIn, withChangeOptions } from '../../shared/config/change.ts';
import { ownerText } from '../../shared/config/owner.ts';
import { parseKey } from '../../shared/config-keys/keys.ts';
import { confirm } from '../../shared/confirm.ts';
import { CliError } from '../../shared/errors.ts';
import type { CliIo } from '../../shared/io.ts';
import { readSigner } from '../../shared/key-file.ts';
import { Out, onBus, optionsOf, type Session } from '../../shared/session.ts';
import { yamlLines } from '../../shared/text/yaml.ts';
import { signResources } from './sign-resource.ts';

/** The stored values to sign, after a note for each that is not. @throws CliError CLI_NOT_FOUND | CLI_USAGE */
async function unsigned(session: Session, keys: readonly ConfigKey[], { sign: signer, takeOver }: ChangeOptions) {
  if (!signer)
    throw new CliError('CLI_USAGE', '--sign is missing', { remedy: 'pass the key file: --sign anna@prod.key' });
  const { bus, out } = session;
  const stored = (await openBucket(bus, CONFIG_BUCKET).entries()).map(storedConfig);
  const texts = keys.map(formatConfigKey);
  const absent = texts.filter((text) => !stored.some(({ key }) => key === text));
  if (absent.length > 0) {
    const remedy = '`bailiff config list` lists the keys; `bailiff config delete --sign` signs a deletion';
    throw new CliError('CLI_NOT_FOUND', `nothing is stored under ${absent.join(', ')}`, { remedy });
  }
  const wanted = texts.length === 0 ? stored : stored.filter(({ key }) => texts.includes(key));
  return wanted.filter((one) => {
    const value = valueIn(one);
    const owned = one.owner !== null && !takeOver;
    const isValue = typeof value === 'object' && value !== null && !Array.isArray(value);
    if (owned) out.note(`${one.key}: skipped, ${ownerText(one)} owns it: \`bailiff config sign-resource\``);
    else if (!isValue) out.note(`${one.key}: skipped, its value is not an object of fields`);
    else if (isSignedAs(one, signer)) out.note(`${one.key}: has this signature`);
    else return true;
    return false;
  });
}

async function signOne(session: Session, one: StoredConfig, options: ChangeOptions): Promise<number> {
  const { bus, io } = session;
  const { revision: _renewed, ...value } = valueIn(one) as Record<string, unknown>;
  const { revision } = await writeConfig(bus, one.key, value, {
    ...noteOf(io, options, 'bailiff config sign'),
    expectedRevision: one.bucketRevision,
    release: one.released,
    // The value is stored already: checks for new values must not prevent its signature.
    restores: true,
  });
  return revision;
}

/** @throws CliError, ConfigError CONFIG_REVISION, BusError */
export async function sign(session: Session, keys: readonly ConfigKey[], options: ChangeOptions): Promise<void> {
  const { io, out } = session;
  const wanted = await unsigned(session, keys, options);
  for (const one of wanted) {
    out.note(`${one.key}: revision ${one.revision} by ${one.by || 'an unknown author'}`);
    for (const line of yamlLines(valueIn(one))) out.note(`  ${line}`);
  }
  const isDry = options.dryRun ?? false;
  if (isDry) out.note('nothing was written (--dry-run)');
  else if (wanted.length > 0) await confirm(io, `Sign ${plural(wanted.length, 'value')}?`, options.yes);
  const signed: { key: string; revision: number }[] = [];
  for (const one of isDry ? [] : wanted) {
    const revision = await signOne(session, one, options);
    signed.push({ key: one.key, revision });
    if (!options.json) out.line(`${one.key}: revision ${revision}, signed as ${options.sign?.name}`);
  }
  if (options.json) out.json(signed);
}

function registerSigner(parent: Command, io: CliIo): void {
  const command = parent
    .command('signer')
    .description('print the line of a key for the file of signers; the name of the file is the name of the signer')
    .argument('<keyfile>', 'Ed25519 key (PEM), such as anna@prod.key')
    .addHelpText(
      'after',
      '\nExample:\n  openssl genpkey -algorithm ed25519 -out anna@prod.key\n  bailiff config signer anna@prod.key\n',
    );
  command.action((file: string) => {
    const { name, key } = readSigner(file);
    new Out(io).line(formatVerifierKey(verifierKey(name, key)));
  });
}

function registerSign(parent: Command, io: CliIo): void {
  const command = withChangeOptions(
    parent
      .command('sign')
      .description('show stored values and sign them, unless they have this signature: all keys, or those given')
      .argument('[key...]', 'keys, such as spoof.cluster._.default'),
  ).addHelpText(
    'after',
    `
An administrator of the bus may have changed a value: read what you sign. Keys of custom resources are skipped; sign
the resource with sign-resource.

Example:
  bailiff config sign --sign anna@prod.key --reason "signatures are required from now on"
`,
  );
  onBus(command, io, (options: ChangeOptions, texts: string[]) => {
    const keys = texts.map(parseKey);
    return (session) => sign(session, keys, options);
  });
}

function registerSignResource(parent: Command, io: CliIo): void {
  const command = parent
    .command('sign-resource')
    .description('print custom resources with the annotation that signs them; other documents stay as they are')
    .argument('<file>', 'YAML or JSON with one or more documents; - for stdin')
    .requiredOption('--sign <keyfile>', 'Ed25519 key (PEM); its file name is the name of the signer', readSigner)
    .addHelpText(
      'after',
      '\nExample:\n  bailiff config sign-resource policy.yaml --sign anna@prod.key | kubectl apply -f -\n',
    );
  command.action(async (file: string) => {
    const options = optionsOf<Required<Pick<ChangeOptions, 'sign'>>>(command);
    io.stdout.write(await signResources(file, options.sign, io));
  });
}

export function registerSigning(parent: Command, io: CliIo): void {
  registerSigner(parent, io);
  registerSign(parent, io);
  registerSignResource(parent, io);
}
