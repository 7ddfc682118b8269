/** Which parts differ from the client so much that it matters. Pure. */

export interface PartVersion {
  part: string;
  version: string;
  instances: number;
}

/** Patch versions are compatible. Before 1.0.0 a minor version may change what is on the bus. */
const releaseOf = (version: string) => /^v?(\d+)\.(\d+)\./.exec(version)?.slice(1, 3).join('.') ?? version;

export const skewOf = (client: string, parts: readonly PartVersion[]): PartVersion[] =>
  parts.filter(({ version }) => releaseOf(version) !== releaseOf(client));
