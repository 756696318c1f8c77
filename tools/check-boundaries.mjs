// Fails when a package imports what its layer may not, or what its package.json does not name. Dependencies point one
// way: apps → compose → service libs → foundation libs → api; see docs/architecture.md.
import { globSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

if (process.argv.includes('--help')) {
  process.stdout.write(
    'usage: node tools/check-boundaries.mjs\n\nPrints each import that breaks a rule; answers 1 if any does.\n',
  )
  process.exit(0)
}

const root = dirname(dirname(fileURLToPath(import.meta.url)))

// What each layer may import. A lib that is in none of the lists is a service, the strictest.
const layers = {
  api: { may: [] },
  foundation: { may: ['api', 'foundation'] },
  service: { may: ['api', 'foundation'] },
  composition: { may: ['api', 'foundation', 'service'] },
  app: { may: ['api', 'foundation', 'service', 'composition'] },
  testing: { may: ['api', 'foundation'] },
}
const foundation =
  'access bus config content-client embedded fifo filters layers linux log metadata metrics oci pki registry rpc ttrpc turns'
const layerOfLib = {
  api: 'api',
  compose: 'composition',
  testing: 'testing',
  ...Object.fromEntries(foundation.split(' ').map((name) => [name, 'foundation'])),
}

const packages = new Map()
for (const file of globSync('{apps,libs}/**/package.json', { cwd: root, exclude: ['**/node_modules', '**/dist'] })) {
  const { name, dependencies = {}, devDependencies = {} } = JSON.parse(readFileSync(join(root, file), 'utf8'))
  const folder = dirname(file)
  const short = name.replace('@flotilla/', '')
  const layer = folder.startsWith('apps/')
    ? 'app'
    : folder.startsWith('libs/snapshotters/')
      ? 'foundation'
      : (layerOfLib[short] ?? 'service')
  packages.set(name, {
    name,
    folder,
    layer,
    declared: new Set([...Object.keys(dependencies), ...Object.keys(devDependencies)]),
  })
}

const shared = new Set(Object.keys(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).devDependencies))
const importPattern =
  /(?:^|\n)\s*(?:import|export)\b[^'"`;]*?\bfrom\s*'([^']+)'|(?:^|\n)\s*import\s*'([^']+)'|\bimport\(\s*'([^']+)'/g
const broken = []
const edges = new Map()

/** Whether a file runs only in tests and benchmarks. */
function isTest(file) {
  return /\.test\.ts$|\.e2e\.ts$|(^|\/)(bench|fixtures?|testing)(\/|[^/]*\.ts$)/.test(file)
}

function check(from, file, specifier) {
  const complain = (why) => broken.push(`${file}: imports '${specifier}', ${why}`)
  if (isBuiltin(specifier)) return
  if (specifier.startsWith('.')) {
    const target = relative(join(root, from.folder), resolve(root, dirname(file), specifier))
    if (target.startsWith('..')) complain('a file outside its package')
    return
  }
  const name = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
  const target = packages.get(name)
  if (target === undefined) {
    if (name.startsWith('@flotilla/')) complain('which is no package of this workspace')
    else if (!from.declared.has(name) && !shared.has(name)) complain(`which ${from.folder}/package.json does not name`)
    return
  }
  if (target === from) return
  const test = isTest(relative(from.folder, file))
  if (!test && !from.declared.has(name)) complain(`which ${from.folder}/package.json does not name`)
  if (target.layer === 'testing') {
    if (!test) complain('which is for tests only')
  } else if (!test && !layers[from.layer].may.includes(target.layer)) {
    // A test may put a service to work beside the real one that it depends on.
    complain(`but ${from.layer} code may import only: ${layers[from.layer].may.join(', ') || 'nothing of ours'}`)
  }
  if (!test) edges.set(from.name, (edges.get(from.name) ?? new Set()).add(name))
}

for (const from of packages.values()) {
  const exclude = ['**/node_modules/**', '**/dist/**', '**/gen/**']
  // Drivers live below libs/snapshotters; a package's files are those that no deeper package owns.
  const inner = [...packages.values()].filter((other) => other !== from && other.folder.startsWith(`${from.folder}/`))
  for (const file of globSync(`${from.folder}/**/*.ts`, { cwd: root, exclude })) {
    if (inner.some((other) => file.startsWith(`${other.folder}/`))) continue
    for (const match of readFileSync(join(root, file), 'utf8').matchAll(importPattern))
      check(from, file, match[1] ?? match[2] ?? match[3])
  }
}

/** Reports each circle of packages once, from its first name. */
function findCircles(name, path) {
  if (path.includes(name)) {
    const circle = path.slice(path.indexOf(name))
    if (circle.every((other) => other >= name)) broken.push(`a circle: ${[...circle, name].join(' → ')}`)
    return
  }
  for (const next of edges.get(name) ?? []) findCircles(next, [...path, name])
}
for (const name of packages.keys()) findCircles(name, [])

const unique = [...new Set(broken)]
for (const line of unique) process.stdout.write(`${line}\n`)
process.stdout.write(`boundaries: ${packages.size} packages, ${unique.length} broken rules\n`)
process.exitCode = unique.length === 0 ? 0 : 1
