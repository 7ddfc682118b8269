#!/usr/bin/env node
// `kubectl bailiff`: the same program. It finds its name in the path that started it.
import './bailiff.mjs';
