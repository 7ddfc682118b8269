/**
 * The content of a release: whether the source may be released, the notes, and the values that pin
 * each image in the Helm chart. Pure.
 */
import type { Listed } from '../images/image-list.ts';

/** The source at the tag. */
export interface Source {
  readonly version: string;
  /** Version of package.json. */
  readonly workspace: string;
  /** `version` and `appVersion` of Chart.yaml. */
  readonly chart: { readonly version: string; readonly appVersion: string };
  readonly changelog: string;
  /** Tags of Bailiff's images in k8s/base/kustomization.yaml. */
  readonly baseTags: readonly string[];
  /** Commit of HEAD. */
  readonly head: string;
  /** Commit of the tag `v<version>`; null: there is no such tag. */
  readonly tagged: string | null;
  /** Output of `git status --porcelain`. */
  readonly changes: string;
  /** Versions in the SBOMs of the images. */
  readonly imageVersions: readonly string[];
  /** Versions with a recording in test/versions. */
  readonly recorded: readonly string[];
  /** bailiff.pub of the tag; null: there is none. */
  readonly publicKey: string | null;
  /** Public half of the key that signs, in the same form. */
  readonly signer: string;
}

/** The section of a version in CHANGELOG.md without its heading; empty if there is none. */
export function changelogSection(changelog: string, version: string): string {
  const sections = changelog.split(/^## /m).slice(1);
  const own = sections.find((section) => /^\[?([^\]\s]+)/.exec(section)?.[1] === version);
  return own === undefined ? '' : own.slice(own.indexOf('\n') + 1).trim();
}

/** Versions that have a section in CHANGELOG.md. */
export function releasedVersions(changelog: string): string[] {
  return [...changelog.matchAll(/^## \[?(\d+\.\d+\.\d+[^\]\s]*)/gm)].map(([, version]) => version as string);
}

/** Reasons why the source cannot be released, each with a remedy; empty: it can. */
export function whyNotReleasable(source: Source): string[] {
  const { version, workspace, chart, head, tagged } = source;
  const tag = `v${version}`;
  const wrong = (what: string, found: string) => `${what} is ${found}, not ${version}: set it and tag the commit`;
  return [
    ...(source.changes === '' ? [] : ['the checkout has local changes: commit or remove them']),
    ...(tagged === null ? [`there is no tag ${tag}: git tag --sign ${tag}`] : []),
    ...(tagged !== null && tagged !== head ? [`HEAD is not ${tag}: git checkout ${tag}`] : []),
    ...(workspace === version ? [] : [wrong('the version of package.json', workspace)]),
    ...(chart.version === version ? [] : [wrong('the version of k8s/chart/Chart.yaml', chart.version)]),
    ...(chart.appVersion === version ? [] : [wrong('appVersion of k8s/chart/Chart.yaml', chart.appVersion)]),
    ...source.baseTags
      .filter((tag) => tag !== version)
      .map((tag) => wrong('a tag in k8s/base/kustomization.yaml', tag)),
    ...(changelogSection(source.changelog, version) === '' ? [`CHANGELOG.md has no section "## ${version}"`] : []),
    ...(source.publicKey === null
      ? ['the tag has no bailiff.pub: scripts/release --new-key FILE, and commit it']
      : source.publicKey.trim() === source.signer.trim()
        ? []
        : ['bailiff.pub is not of the key that signs: sign with its private key, or commit the new public key']),
    ...(source.recorded.includes(version) ? [] : [`test/versions has no ${version}: npm run record, and commit it`]),
    ...source.imageVersions
      .filter((one) => one !== version)
      .map((one) => `an SBOM describes version ${one}, not ${version}: run scripts/images --tag ${version} --save`),
  ];
}

/** Reads the list that scripts/images writes. @throws Error for a line of another form */
export function readImageList(text: string): Listed[] {
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const [name, reference, digest, ...rest] = line.split(/ +/);
      if (!name || !reference || !digest || rest.length > 0) throw new Error(`images.txt: not an image: ${line}`);
      return { name, reference, digest: digest === '-' ? '' : digest };
    });
}

type Values = { readonly [key: string]: unknown };
const isValues = (value: unknown): value is Values => value !== null && typeof value === 'object';

/**
 * Values of the Helm chart that pin every image of the list by its digest, or by its tag where the
 * list has no digest.
 * @param values defaults of the chart
 * @throws Error if an image of the chart is not in the list
 */
export function imageValues(values: Values, images: readonly Listed[]): Values {
  const pinned: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(values)) {
    if (!isValues(value)) continue;
    const { image } = value;
    const name = isValues(image) ? image['repository'] : undefined;
    if (name === undefined) continue;
    const listed = images.find((one) => one.name === name);
    if (listed === undefined) throw new Error(`images.txt has no image ${String(name)}, which the chart uses`);
    pinned[key] = { image: pinOf(listed) };
  }
  return pinned;
}

function pinOf({ reference, digest }: Listed): Values {
  const at = reference.indexOf('@');
  const named = at === -1 ? reference : reference.slice(0, at);
  const colon = named.indexOf(':', named.lastIndexOf('/'));
  const full = colon === -1 ? named : named.slice(0, colon);
  // The chart refuses both, because the tag would have no effect.
  const tag = colon === -1 || digest !== '' ? '' : named.slice(colon + 1);
  // Apart, so that `global.imageRegistry` does not come in front of them.
  const slash = full.indexOf('/');
  return { registry: full.slice(0, slash), repository: full.slice(slash + 1), tag, digest };
}
