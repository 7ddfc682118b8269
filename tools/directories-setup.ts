// Vitest's setup of all tiers: removes the temporary directories of a file after its hooks.
import { removeTemporaryDirectories } from '@bailiff/service/testing';
import { afterAll } from 'vitest';

// Registered before all hooks of the file, so it runs after them.
afterAll(removeTemporaryDirectories);
