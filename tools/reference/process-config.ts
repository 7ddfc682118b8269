/**
 * docs/reference/processes.md: flags, environment and file keys of each app, from the validating
 * schema.
 */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { busShape, envName, flagName, frameShape } from '@bailiff/service';
import * as z from 'zod';
import { type Field, variantsOf } from './fields.ts';
import { code, page, section, table } from './markdown.ts';

const APPS = path.resolve(import.meta.dirname, '../../apps');
/** Keys shared by all apps, shown once. */
const SHARED = [...Object.keys(frameShape), ...Object.keys(busShape)];

export interface AppConfig {
  app: string;
  fields: readonly Field[];
}

/** Every app whose src/config.ts exports its schema, sorted by name. */
export async function appConfigs(): Promise<AppConfig[]> {
  const apps = readdirSync(APPS).filter((app) => existsSync(path.join(APPS, app, 'src/config.ts')));
  return Promise.all(
    apps.sort().map(async (app) => {
      const module = (await import(path.join(APPS, app, 'src/config.ts'))) as Record<string, unknown>;
      const schemas = Object.values(module).filter((value) => value instanceof z.ZodObject);
      const [schema] = schemas;
      if (schema === undefined || schemas.length > 1)
        throw new Error(`apps/${app}/src/config.ts must export one schema, and exports ${schemas.length}`);
      return { app, fields: fieldsOf(schema) };
    }),
  );
}

const fieldsOf = (schema: z.ZodObject): Field[] => variantsOf(schema)[0]?.fields ?? [];

function rows(app: string, fields: readonly Field[]): string {
  return table(
    ['flag', 'environment', 'type', 'default', 'what'],
    fields.map(({ path: key, type, fallback, required, description }) => [
      code(`--${flagName(key)}`),
      code(envName(app, key)),
      type,
      required ? 'needed' : fallback === '""' ? '' : code(fallback),
      description,
    ]),
  );
}

export async function processesPage(): Promise<string> {
  const shared = fieldsOf(z.strictObject({ ...frameShape, ...busShape }));
  const apps = await appConfigs();
  return page(
    'Processes',
    `Every app is configured by defaults < file (\`--config\`, YAML or JSON with the keys of the flags in camelCase: \`natsUrl\`) < environment < flags. \`--check-config\` ends with 0 or 6,
\`--print-config\` shows what is in force. Lists are written with commas. Secrets are given as paths of files. \`collector status\`, \`collector detach --all\`, \`collector attach\` and
\`collector uninstall-cni\` work on a node alone; \`--help\` of each has their flags.`,
    [
      section(
        'Every app',
        'The variable starts with the name of the app. `natsUser` and the bus keys after it apply only to apps with a bus connection.',
        rows('<app>', shared),
      ),
      ...apps.map(({ app, fields }) => {
        const own = fields.filter(({ path: key }) => !SHARED.includes(key));
        return section(app, own.length === 0 ? 'Nothing else.' : rows(app, own));
      }),
    ],
  );
}
