import { readdirSync } from 'node:fs';
import path from 'node:path';
import { envPrefix } from '@bailiff/service';
import { expect, it } from 'vitest';
import { CHECKOUT } from '../names.ts';
import { serviceEnvironment } from './environment.ts';

it('environment - settings of services and locales of the shell do not reach a lab', () => {
  const shell = { PATH: '/bin', LC_ALL: 'xx_XX', BAILIFF_NATIVE: '/addon', BAILIFF_COLLECTOR_NODE_NAME: 'other' };
  expect(serviceEnvironment(shell, { BAILIFF_COLLECTOR_LIMIT: '1' })).toEqual({
    PATH: '/bin',
    LC_ALL: 'C',
    BAILIFF_NATIVE: '/addon',
    BAILIFF_COLLECTOR_LIMIT: '1',
  });
});

it('environment - of every service', () => {
  const services = readdirSync(path.join(CHECKOUT, 'apps')).filter((app) => app !== 'cli' && app !== 'console');
  expect(services.length).toBeGreaterThan(4);
  const settings = Object.fromEntries(services.map((app) => [`${envPrefix(app)}NATS_URL`, 'nats://elsewhere']));
  expect(serviceEnvironment(settings)).toEqual({ LC_ALL: 'C' });
});
