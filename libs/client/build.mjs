// Makes the package that is published: dist/ (or the directory given) with one JavaScript file, its declarations, a
// package.json and the README. `npm publish libs/client/dist`.
import { execFileSync } from 'node:child_process'
import { copyFileSync, cpSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const here = dirname(fileURLToPath(import.meta.url))
const root = join(here, '../..')
const out = resolve(process.argv[2] ?? join(here, 'dist'))
const read = (file) => JSON.parse(readFileSync(file, 'utf8'))
const outside = ['@grpc/grpc-js', '@bufbuild/protobuf', 'tar-stream']

rmSync(out, { recursive: true, force: true })
await build({
  entryPoints: [join(here, 'src/index.ts')],
  outfile: join(out, 'index.js'),
  bundle: true,
  external: outside.flatMap((name) => [name, `${name}/*`]),
  platform: 'node',
  target: 'node22',
  format: 'esm',
  sourcemap: true,
  logLevel: 'warning',
})

// Declarations of this package and of those of ours that it is made of, in one tree.
const types = mkdtempSync(join(tmpdir(), 'flotilla-client-types-'))
try {
  const options = ['--noEmit', 'false', '--declaration', '--emitDeclarationOnly', '--rewriteRelativeImportExtensions']
  for (const lib of ['api', 'rpc', 'fifo', 'oci', 'client']) {
    const paths = ['-p', join(root, 'libs', lib, 'tsconfig.json'), '--rootDir', join(root, 'libs'), '--outDir', types]
    execFileSync(join(root, 'node_modules/.bin/tsc'), [...paths, ...options], { stdio: 'inherit' })
  }
  const homes = {
    '@flotilla/api': 'api/src/gen',
    '@flotilla/rpc': 'rpc/src/index',
    '@flotilla/fifo': 'fifo/src/index',
    '@flotilla/oci': 'oci/src/index',
  }
  for (const file of globSync('**/*.d.ts', { cwd: types })) {
    const text = readFileSync(join(types, file), 'utf8').replace(
      /(['"])(@flotilla\/(?:api|rpc|fifo|oci))(\/[^'"]+)?\1/g,
      (_, quote, name, path = '') => {
        const target = relative(dirname(file), `${homes[name]}${path}.js`)
        return `${quote}${target.startsWith('.') ? target : `./${target}`}${quote}`
      },
    )
    writeFileSync(join(types, file), text)
  }
  rmSync(join(types, 'client/examples'), { recursive: true, force: true })
  for (const test of globSync('**/*.test.d.ts', { cwd: types })) rmSync(join(types, test))
  cpSync(types, join(out, 'types'), { recursive: true })
} finally {
  rmSync(types, { recursive: true, force: true })
}

const { name, version, description } = read(join(here, 'package.json'))
const versions = read(join(root, 'package.json')).dependencies
const about = {
  name,
  version,
  description,
  license: 'Apache-2.0',
  type: 'module',
  engines: { node: '>=22' },
  exports: { '.': { types: './types/client/src/index.d.ts', default: './index.js' } },
  dependencies: Object.fromEntries(outside.map((each) => [each, versions[each]])),
}
writeFileSync(join(out, 'package.json'), `${JSON.stringify(about, null, 2)}\n`)
copyFileSync(join(here, 'README.md'), join(out, 'README.md'))
