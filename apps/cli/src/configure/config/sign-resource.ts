/**
 * `config sign-resource`: custom resources with the annotation that signs them. Comments and order of the documents
 * stay. A resource that ipam-sync would refuse is not signed. The signature covers the defaults of the definitions too,
 * because the API server adds them.
 */
import {
  ConfigError,
  type ConfigSigner,
  checkConfigWrite,
  formatConfigKey,
  keyOfResource,
  RESOURCE_GROUP,
  RESOURCE_KINDS,
  type ResourceKind,
  SIGNATURE_ANNOTATION,
  signLater,
  valueOfResource,
} from '@bailiff/policy';
import { withResourceDefaults } from '@bailiff/policy/defaults';
import { type Document, parseAllDocuments, Scalar } from 'yaml';
import { CliError } from '../../shared/errors.ts';
import { textOf } from '../../shared/files.ts';
import type { CliIo } from '../../shared/io.ts';
import { documentText } from '../../shared/text/yaml.ts';

interface Resource {
  apiVersion?: unknown;
  kind?: unknown;
  metadata?: { name?: unknown; annotations?: Record<string, unknown> };
  spec?: unknown;
}

function annotate(document: Document, signer: ConfigSigner, nowMs: number): boolean {
  const { apiVersion, kind, metadata, spec } = (document.toJS() ?? {}) as Resource;
  const isOurs = String(apiVersion).startsWith(`${RESOURCE_GROUP}/`);
  if (!isOurs || !(RESOURCE_KINDS as readonly unknown[]).includes(kind)) return false;
  if (typeof metadata?.name !== 'string' || typeof spec !== 'object' || spec === null) {
    throw new ConfigError('CONFIG_SCHEMA', `a ${kind} has a metadata.name and a spec`);
  }
  const fields = withResourceDefaults(kind as ResourceKind, spec as Record<string, unknown>);
  const key = keyOfResource(kind as ResourceKind, metadata.name, fields);
  const json = JSON.stringify(valueOfResource(kind as ResourceKind, fields));
  checkConfigWrite(key, json);
  const before = metadata.annotations?.[SIGNATURE_ANNOTATION];
  const change = { key: formatConfigKey(key), json };
  const signature = signLater(change, signer, nowMs, typeof before === 'string' ? before : '');
  const text = new Scalar(signature);
  text.type = Scalar.QUOTE_DOUBLE;
  document.setIn(['metadata', 'annotations', SIGNATURE_ANNOTATION], text);
  return true;
}

/** @throws CliError CLI_CONFIG, ConfigError; errors of the file */
export async function signResources(file: string, signer: ConfigSigner, io: CliIo): Promise<string> {
  const documents = parseAllDocuments(await textOf(file, io));
  const problem = 'empty' in documents ? null : documents.flatMap(({ errors }) => errors)[0];
  if (problem) throw new CliError('CLI_CONFIG', `${file}: ${problem.message}`, { cause: problem });
  const signed = documents.filter((document) => annotate(document, signer, io.nowMs()));
  if (signed.length === 0) {
    throw new CliError('CLI_CONFIG', `${file} contains no custom resource of ${RESOURCE_GROUP}`, {
      remedy: '`bailiff config set --sign` signs values of the command line',
    });
  }
  const texts = documents.map((document) => documentText(document));
  // A document that began with `---` prints it itself.
  return texts.reduce((all, text) => all + (text.startsWith('---') ? '' : '---\n') + text);
}
