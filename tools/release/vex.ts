/**
 * The VEX document of a release (OpenVEX 0.2.0), from docs/advisories.yaml: which known
 * vulnerabilities of parts do not affect Bailiff, and why. Pure.
 */
import { createHash } from 'node:crypto';
import { parse } from 'yaml';
import * as z from 'zod';

/** Justifications of OpenVEX. */
const JUSTIFICATIONS = [
  'component_not_present',
  'vulnerable_code_not_present',
  'vulnerable_code_not_in_execute_path',
  'vulnerable_code_cannot_be_controlled_by_adversary',
  'inline_mitigations_already_exist',
] as const;

const advisory = z.strictObject({
  /** CVE or GHSA. */
  id: z.string().regex(/^(CVE-\d{4}-\d{4,}|GHSA(-[0-9a-z]{4}){3})$/),
  /** Package URL of the part, without a version where all are meant. */
  part: z.string().regex(/^pkg:(npm|deb|generic)\/\S+$/),
  justification: z.enum(JUSTIFICATIONS),
  /** Why, in words, and how it was checked. */
  why: z.string().min(20),
});
const advisoriesSchema = z.strictObject({
  /** The day on which the list was last compared with the known vulnerabilities. */
  reviewed: z.iso.date(),
  advisories: z.array(advisory),
});
export type Advisories = z.infer<typeof advisoriesSchema>;

/** @throws ZodError that names the field */
export const readAdvisories = (text: string): Advisories =>
  // The date is a word of this file, not a time of this machine.
  advisoriesSchema.parse(parse(text, { schema: 'core' }));

export interface VexContent {
  readonly version: string;
  readonly epoch: number;
  /** Package URLs of what is released. */
  readonly products: readonly string[];
  readonly advisories: Advisories;
}

export function vexOf({ version, epoch, products, advisories }: VexContent): Record<string, unknown> {
  const timestamp = new Date(epoch * 1_000).toISOString();
  // Only images contain packages of a distribution.
  const containing = (part: string) =>
    products.filter((one) => part.startsWith('pkg:npm/') || one.startsWith('pkg:oci/'));
  const statements = advisories.advisories.map(({ id, part, justification, why }) => ({
    vulnerability: { name: id },
    products: containing(part).map((product) => ({ '@id': product, subcomponents: [{ '@id': part }] })),
    status: 'not_affected',
    justification,
    impact_statement: why,
  }));
  const body = { author: 'Bailiff maintainers', role: 'Document Creator', timestamp, version: 1, statements };
  const hash = createHash('sha256').update(JSON.stringify(body)).digest('hex');
  return {
    '@context': 'https://openvex.dev/ns/v0.2.0',
    '@id': `https://bailiff.dev/vex/${version}/${hash.slice(0, 32)}`,
    ...body,
  };
}
