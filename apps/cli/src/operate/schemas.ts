/**
 * `bailiff schemas export`: writes the Avro schemas of bus messages to files, for readers in other
 * languages.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Bus, schemaLookup, streamInfo } from '@bailiff/bus';
import { CURRENT_SCHEMAS, fingerprintHex, RELEASED_SCHEMAS } from '@bailiff/schemas';
import { EXIT } from '@bailiff/service';
import type { Command } from 'commander';
import { CliError } from '../shared/errors.ts';
import type { CliIo } from '../shared/io.ts';
import { Out, onBus } from '../shared/session.ts';

interface Options {
  dir: string;
  builtIn?: boolean;
}

/** A schema with the fingerprint of its messages. */
export interface ExportedSchema {
  fingerprint: string;
  /** ViolationFrame, Verdict, Response. */
  name: string;
  file: string;
  text: string;
}

const EXAMPLES = `
Examples:
  bailiff schemas export --dir ./schemas             all schemas in use on this bus, past and present
  bailiff schemas export --dir ./schemas --built-in  schemas of this build, without a bus

A message consists of C3 01, the fingerprint (eight bytes, little endian), and the body. index.json maps fingerprints
to files, with the most significant digit first as in bailiff_schemas.
`;

const KEY = /^\$KV\.bailiff_schemas\.fp-([0-9a-f]{16})$/;

/** Checks a schema against its fingerprint. @throws CliError CLI_STATE if they differ */
export function exported(fingerprint: string, text: string): ExportedSchema {
  let found = '';
  let name: unknown;
  try {
    const schema = JSON.parse(text) as { name?: unknown };
    name = schema.name;
    found = fingerprintHex(schema);
  } catch {
    // Reported below like a mismatch.
  }
  if (found !== fingerprint || typeof name !== 'string' || !/^[A-Za-z]\w{0,63}$/.test(name)) {
    throw new CliError('CLI_STATE', `the schema under ${fingerprint} has another fingerprint`, {
      remedy: 'a client modified bailiff_schemas: inspect it, and run `bailiff bus setup` again',
    });
  }
  return { fingerprint, name, file: `${name}-${fingerprint}.avsc`, text };
}

/** All schemas of the bus. @throws BusError, CliError */
async function fromBus(bus: Bus): Promise<ExportedSchema[]> {
  const info = await streamInfo(bus, 'KV_bailiff_schemas', { subjects_filter: '$KV.bailiff_schemas.>' });
  const subjects = (info.state as { subjects?: Record<string, number> }).subjects ?? {};
  const lookUp = schemaLookup(bus);
  const schemas: ExportedSchema[] = [];
  for (const subject of Object.keys(subjects).sort()) {
    const fingerprint = KEY.exec(subject)?.[1];
    const text = fingerprint === undefined ? null : await lookUp(fingerprint);
    if (fingerprint !== undefined && text !== null) schemas.push(exported(fingerprint, text));
  }
  return schemas;
}

export function builtIn(): ExportedSchema[] {
  const texts = new Map([...RELEASED_SCHEMAS, ...CURRENT_SCHEMAS].map(({ fingerprint, text }) => [fingerprint, text]));
  return [...texts].map(([fingerprint, text]) => exported(fingerprint, text));
}

function write(out: Out, dir: string, schemas: readonly ExportedSchema[]): void {
  mkdirSync(dir, { recursive: true });
  for (const { file, text } of schemas) {
    writeFileSync(path.join(dir, file), `${JSON.stringify(JSON.parse(text), null, 2)}\n`);
  }
  const index = Object.fromEntries(schemas.map(({ fingerprint, name, file }) => [fingerprint, { name, file }]));
  writeFileSync(path.join(dir, 'index.json'), `${JSON.stringify(index, null, 2)}\n`);
  for (const { file } of schemas) out.line(path.join(dir, file));
  out.line(path.join(dir, 'index.json'));
}

export function register(program: Command, io: CliIo): void {
  const schemas = program
    .command('schemas')
    .description('Avro schemas of the bus messages')
    .addHelpText('after', EXAMPLES);
  const command = schemas
    .command('export')
    .description('write the schemas to files, named by fingerprint')
    .requiredOption('--dir <dir>', 'target directory; created if it does not exist')
    .option('--built-in', 'schemas of this build, without a bus')
    .addHelpText('after', EXAMPLES);
  onBus(command, io, (options: Options) => {
    if (options.builtIn) {
      write(new Out(io), options.dir, builtIn());
      return EXIT.ok;
    }
    return async ({ bus, out }) => {
      const found = await fromBus(bus);
      if (found.length === 0)
        throw new CliError('CLI_STATE', 'the bus has no schemas', { remedy: 'run `bailiff bus setup` first' });
      write(out, options.dir, found);
    };
  });
}
