// Lets TypeScript's compiler judge the parts of dashboards.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import ts from 'typescript';

const MODEL = fileURLToPath(new URL('model', import.meta.url));

const OPTIONS = {
  strict: true,
  noEmit: true,
  // The schema's own declarations are Grafana's concern.
  skipLibCheck: true,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  target: ts.ScriptTarget.ES2022,
  types: [],
};

/** A line for each error. */
export function compile(parts) {
  const folder = mkdtempSync(join(tmpdir(), 'dashboards-'));
  try {
    const path = join(folder, 'dashboards.ts');
    writeFileSync(path, sourceOf(parts));
    const program = ts.createProgram([path], OPTIONS);
    return ts.getPreEmitDiagnostics(program).map((diagnostic) => lineOf(diagnostic, parts, path));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A constant a part: an unknown key is an error only in a literal that is given its type at once. */
function sourceOf(parts) {
  const constants = parts.map(
    ({ type, value }, i) => `export const part${i}: model.${type} = ${JSON.stringify(value)};`,
  );
  return [`import type * as model from ${JSON.stringify(MODEL)};`, ...constants].join('\n');
}

function lineOf({ file, start, messageText }, parts, path) {
  const message = ts.flattenDiagnosticMessageText(messageText, '\n');
  if (file?.fileName !== path) {
    return `${file?.fileName ?? 'TypeScript'}: ${message}`;
  }
  const isIn = (node) => node.getStart(file) <= start && start < node.getEnd();
  // Before the parts stands the import.
  const { where, path: outer } = parts[file.statements.findIndex(isIn) - 1];
  const keys = [...outer, ...keysTo(file, isIn)].join('.');
  return [where, ...(keys ? [keys] : []), message].join(': ');
}

/** The keys that lead through the JSON below `node` to the place that `isIn` knows. */
function keysTo(node, isIn) {
  const child = childrenOf(node).find(isIn);
  return child ? [...keyOf(child, node), ...keysTo(child, isIn)] : [];
}

function childrenOf(node) {
  const children = [];
  ts.forEachChild(node, (child) => void children.push(child));
  return children;
}

function keyOf(node, parent) {
  if (ts.isPropertyAssignment(node)) {
    return [node.name.text];
  }
  return ts.isArrayLiteralExpression(parent) ? [parent.elements.indexOf(node)] : [];
}
