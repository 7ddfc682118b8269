/** `config signer`, `config sign` and `config sign-resource`: signed configuration (ADR 36). */
import { formatVerifierKey, verifierKey } from '@bailiff/policy/note';
import type { Command } from 'commander';
import { withChangeOptions } from '../../shared/config/change-options.ts';
import { parseKey } from '../../shared/config-keys/keys.ts';
import type { CliIo } from '../../shared/io.ts';
import { readSigner } from '../../shared/key-file.ts';
import { Out, onBus, optionsOf } from '../../shared/session.ts';
import { type SignOptions, sign } from './sign.ts';
import { signResources } from './sign-resource.ts';

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
  onBus(command, io, (options: SignOptions, texts: string[]) => {
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
    const options = optionsOf<Required<Pick<SignOptions, 'sign'>>>(command);
    io.stdout.write(await signResources(file, options.sign, io));
  });
}

export function registerSigning(parent: Command, io: CliIo): void {
  registerSigner(parent, io);
  registerSign(parent, io);
  registerSignResource(parent, io);
}
