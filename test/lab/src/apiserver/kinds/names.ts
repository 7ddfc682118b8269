/** Validation of names, labels and annotations, with the causes of a real server. Pure. */
import type { StatusCause } from '../errors.ts';
import type { ObjectMeta } from '../types.ts';

const subdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const label = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const qualifiedPart = /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;

/** Limits of Kubernetes itself. */
export const maxNameLength = 253;
export const maxLabelLength = 63;
export const maxAnnotationsBytes = 256 * 1024;

/** Cause of an invalid value. */
export function badValue(field: string, value: unknown, why: string): StatusCause {
  return { reason: 'FieldValueInvalid', message: `Invalid value: ${JSON.stringify(value)}: ${why}`, field };
}

/** Cause of a missing value. */
export function required(field: string): StatusCause {
  return { reason: 'FieldValueRequired', message: 'Required value', field };
}

/** Cause of a value that may not be set or changed. */
export function forbiddenField(field: string, why: string): StatusCause {
  return { reason: 'FieldValueForbidden', message: `Forbidden: ${why}`, field };
}

/** Namespaces are RFC 1123 labels; everything else here is an RFC 1123 subdomain. */
export function nameCauses(name: string, storage: string): StatusCause[] {
  if (storage === 'namespaces') {
    if (name.length <= maxLabelLength && label.test(name)) return [];
    return [
      badValue(
        'metadata.name',
        name,
        'a lowercase RFC 1123 label must consist of lower case alphanumeric characters or "-"',
      ),
    ];
  }
  if (name.length <= maxNameLength && subdomain.test(name)) return [];
  return [
    badValue(
      'metadata.name',
      name,
      "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
    ),
  ];
}

function keyIsQualified(key: string): boolean {
  const parts = key.split('/');
  if (parts.length > 2) return false;
  const name = parts.at(-1)!;
  if (name.length > maxLabelLength || !qualifiedPart.test(name)) return false;
  return parts.length === 1 || (parts[0]!.length <= maxNameLength && subdomain.test(parts[0]!));
}

/** Errors of labels and annotations. */
export function labelCauses(metadata: Partial<ObjectMeta>): StatusCause[] {
  const causes: StatusCause[] = [];
  for (const [key, value] of Object.entries(metadata.labels ?? {})) {
    if (!keyIsQualified(key))
      causes.push(badValue('metadata.labels', key, 'name part must consist of alphanumeric characters'));
    const fits =
      typeof value === 'string' && (value === '' || (value.length <= maxLabelLength && qualifiedPart.test(value)));
    if (!fits)
      causes.push(
        badValue(
          'metadata.labels',
          value,
          'a valid label must be an empty string or consist of alphanumeric characters',
        ),
      );
  }
  let bytes = 0;
  for (const [key, value] of Object.entries(metadata.annotations ?? {})) {
    if (!keyIsQualified(key.toLowerCase())) {
      causes.push(badValue('metadata.annotations', key, 'name part must consist of alphanumeric characters'));
    }
    bytes += key.length + String(value).length;
  }
  if (bytes > maxAnnotationsBytes) {
    causes.push({
      reason: 'FieldValueTooLong',
      message: `Too long: may not be more than ${maxAnnotationsBytes} bytes`,
      field: 'metadata.annotations',
    });
  }
  return causes;
}
