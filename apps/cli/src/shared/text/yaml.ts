/**
 * Policies as YAML, with fields in the schema's order. Pure. Loaded only by commands that need it,
 * because the yaml package is large.
 */
import type { RuntimePolicy } from '@bailiff/policy';
import { POLICY_KIND } from '@bailiff/runtime';
import { escapeUnsafe } from '@bailiff/service';
import { Document, type DocumentOptions, isDocument, Scalar, stringify, type ToStringOptions, visit } from 'yaml';

export const API_VERSION = 'bailiff.dev/v1alpha1';
export const YAML_STYLE: ToStringOptions & DocumentOptions = {
  lineWidth: 120,
  flowCollectionPadding: false,
  // Keeps a quoted text on one line, with line ends as \n.
  doubleQuotedMinMultiLineLength: Number.MAX_SAFE_INTEGER,
};

/** The document of a policy file: `{apiVersion, kind, metadata, spec}`. */
export function objectOf({ name, namespace }: { name: string; namespace: string | null }, spec: unknown) {
  const metadata = namespace === null ? { name } : { name, namespace };
  return { apiVersion: API_VERSION, kind: POLICY_KIND, metadata, spec };
}

/** A policy without fields that have their default value. */
export function withoutDefaults(policy: RuntimePolicy): Record<string, unknown> {
  const { enabled, description, selector, severity, tags, message, defaultPosture, onUnresolvable, ...rest } = policy;
  const postures = Object.entries(defaultPosture).filter(([, posture]) => posture !== 'allow');
  const entries = Object.entries(selector).filter(([, value]) => value !== undefined);
  return {
    ...(rest.revision > 0 ? { revision: rest.revision } : {}),
    ...(enabled ? {} : { enabled }),
    ...(description === '' ? {} : { description }),
    mode: rest.mode,
    severity,
    ...(tags.length > 0 ? { tags } : {}),
    ...(message === '' ? {} : { message }),
    ...(entries.length > 0 ? { selector } : {}),
    ...(postures.length > 0 ? { defaultPosture: Object.fromEntries(postures) } : {}),
    ...(onUnresolvable === 'block' ? {} : { onUnresolvable }),
    ...(rest.rules.length > 0 ? { rules: rest.rules } : {}),
  };
}

/** A value as YAML lines for differences, without `revision`, which every write changes. */
export function yamlLines(value: unknown): string[] {
  if (value === undefined) return [];
  if (typeof value !== 'object' || value === null) return [String(value)];
  const { revision: _renewed, ...rest } = value as Record<string, unknown>;
  return stringify(rest, YAML_STYLE).trimEnd().split('\n');
}

/**
 * Scalars with characters that a terminal would interpret or hide are double-quoted and escaped;
 * the value stays the same.
 */
export function documentText(value: Document | object): string {
  const document = isDocument(value) ? value : new Document(value);
  visit(document, {
    Scalar: (_, node) => {
      if (typeof node.value === 'string' && escapeUnsafe(node.value, '\n') !== node.value)
        node.type = Scalar.QUOTE_DOUBLE;
    },
  });
  return escapeUnsafe(document.toString(YAML_STYLE), '\n');
}
