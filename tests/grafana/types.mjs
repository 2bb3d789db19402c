// Proves that dashboards are valid against the types of @grafana/schema: node types.mjs DASHBOARD.json…

import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';

import { compile } from './types/compile.mjs';
import { partsOf } from './types/parts.mjs';

/** A line for each error in the dashboards, which are `{ name, json }`. */
export function errorsOf(dashboards) {
  return compile(dashboards.flatMap(({ name, json }) => partsOf(name, json)));
}

function read(path) {
  try {
    return { name: basename(path), json: JSON.parse(readFileSync(path, 'utf8')) };
  } catch (error) {
    throw new Error(`${path}: ${error.message}`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const paths = process.argv.slice(2);
  // A pattern that matches no file proves nothing.
  const errors = paths.length > 0 ? errorsOf(paths.map(read)) : ['usage: node types.mjs DASHBOARD.json…'];
  console.log(errors.length > 0 ? errors.join('\n') : `${paths.length} dashboards are valid`);
  process.exitCode = errors.length > 0 ? 1 : 0;
}
