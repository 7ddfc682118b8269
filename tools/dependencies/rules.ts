/**
 * The rules that every npm package of the lock file must meet: pins, hashes, licences, install scripts
 * (docs/dependencies.md). Pure.
 */

/** Licences of packages in the product. None asks for more than to keep its text. */
const LICENCES = [
  ...['MIT', 'Apache-2.0', 'MIT OR Apache-2.0', 'ISC', 'BSD-2-Clause', 'BSD-3-Clause', '0BSD'],
  ...['BlueOak-1.0.0', 'Python-2.0', 'Unlicense'],
];
/** Of packages that only build and test: their files are neither changed nor distributed with the product. */
const TOOL_LICENCES = [...LICENCES, 'MPL-2.0', 'CC0-1.0'];

/** Packages that may run a program when they are installed, with the reason. */
export const INSTALL_SCRIPTS: Readonly<Record<string, string>> = {
  esbuild: 'replaces its launcher by the binary of its optional package, whose hash is in the lock file',
  'msgpackr-extract': 'tries the binary of its optional package, or compiles it; msgpackr works without it',
  nx: 'checks the platform; it downloads a client only where nx.json names a cloud, which it does not',
  protobufjs: 'warns if the version range of a project is of another form',
};

interface LockedPackage {
  readonly version?: string;
  readonly license?: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly link?: boolean;
  readonly dev?: boolean;
  readonly hasInstallScript?: boolean;
}
export interface Lock {
  readonly packages: Readonly<Record<string, LockedPackage>>;
}
export interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly overrides?: Overrides;
}
interface Overrides {
  readonly [name: string]: string | Overrides;
}

const EXACT = /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/;
const FOLDER = 'node_modules/';
const nameOf = (place: string): string => place.slice(place.lastIndexOf(FOLDER) + FOLDER.length);

/** Packages of the registry, by their place in node_modules. */
export const packagesOf = ({ packages }: Lock): [string, LockedPackage][] =>
  Object.entries(packages).filter(([place, { link }]) => place.includes(FOLDER) && link !== true);

function versionsOf(overrides: Overrides): [string, string][] {
  return Object.entries(overrides).flatMap(([name, value]) =>
    typeof value === 'string' ? [[name, value] as [string, string]] : versionsOf(value),
  );
}

/**
 * Violations of the rules, as one line each with the remedy.
 * @param isTool no package of the lock file is in the product
 */
export function violationsOf(manifest: Manifest, lock: Lock, isTool = false): string[] {
  const { dependencies = {}, devDependencies = {}, overrides = {} } = manifest;
  const pins = [...Object.entries(dependencies), ...Object.entries(devDependencies), ...versionsOf(overrides)];
  const loose = pins.filter(([, version]) => !EXACT.test(version));
  return [
    ...loose.map(([name, version]) => `${name}: ${version} is not one version: pin it in package.json`),
    ...packagesOf(lock).flatMap(([place, locked]) => violationsOfOne(place, locked, isTool || locked.dev === true)),
  ];
}

function violationsOfOne(place: string, locked: LockedPackage, isTool: boolean): string[] {
  const { version = '', license = 'no licence', integrity = '', resolved, hasInstallScript } = locked;
  const name = nameOf(place);
  const at = `${name}@${version}`;
  const licences = isTool ? TOOL_LICENCES : LICENCES;
  return [
    ...(EXACT.test(version) ? [] : [`${at} (${place}): no version of the registry`]),
    ...(integrity.startsWith('sha512-') ? [] : [`${at}: no SHA-512 in package-lock.json: install it again`]),
    // .npmrc leaves the address out where it is the registry's.
    ...(resolved === undefined ? [] : [`${at}: comes from ${resolved}, not from the registry`]),
    ...(licences.includes(license) ? [] : [`${at}: ${license} is not an allowed licence: replace the package`]),
    ...(hasInstallScript !== true || name in INSTALL_SCRIPTS
      ? []
      : [`${at}: runs a program at its installation: replace the package, or name the reason in INSTALL_SCRIPTS`]),
  ];
}

/** The part of `npm audit --json` that is read. */
export interface Audit {
  readonly vulnerabilities?: Readonly<
    Record<string, { readonly severity: string; readonly via: readonly (string | { readonly url?: string })[] }>
  >;
}

/** Advisories that are not in `accepted`, by package. */
export function openAdvisories({ vulnerabilities = {} }: Audit, accepted: ReadonlySet<string>): string[] {
  return Object.entries(vulnerabilities).flatMap(([name, { severity, via }]) =>
    via
      .flatMap((one) => (typeof one === 'string' ? [] : [one.url ?? 'an advisory without an address']))
      .filter((url) => !accepted.has(url.slice(url.lastIndexOf('/') + 1)))
      .map((url) => `${name} (${severity}): ${url}`),
  );
}
