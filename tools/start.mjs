// Starts an app by its folder's name: `node tools/start.mjs images --config FILE`. Reading some nine hundred modules, most
// of them small, is the greater part of a start; so the apps are bundled, packages included, into a folder of .work that
// is named for the state of the sources, and made anew when a source has changed. Where bundling is not possible (only
// run-time packages installed, a checkout that cannot be written) the sources are run as they are.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const home = join(root, '.work/bundles')
/** Milliseconds after which a bundle that is not the current one is taken for no longer needed by any start. */
const keep = 3_600_000

/** Source folders of every package of the workspace. */
function sourceFolders() {
  const below = (folder) => readdirSync(join(root, folder)).map((name) => join(root, folder, name, 'src'))
  return ['apps', 'libs', 'libs/snapshotters'].flatMap(below).filter(existsSync)
}

/** Name for the state of the sources, of the installed packages and of this Node.js. */
function stateOfSources() {
  const hash = createHash('sha1').update(process.version)
  const add = (path) => {
    const { mtimeMs, size } = statSync(path)
    hash.update(`${path}\0${mtimeMs}\0${size}\0`)
  }
  add(fileURLToPath(import.meta.url))
  add(join(root, 'package-lock.json'))
  for (const folder of sourceFolders())
    for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true }))
      if (entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts')) add(join(entry.parentPath, entry.name))
  return hash.digest('hex')
}

/**
 * What runs on threads of its own, bundled too: as sources each thread would take Node's compiler of TypeScript with it
 * before it could begin. Source → name of its bundle.
 */
const workers = new Map([[join(root, 'libs/layers/src/worker.ts'), 'layers-worker']])

/** The expression for a thread's code: its bundle, or where that was removed under a running app, its source. */
function codeOf(source) {
  const bundle = `new URL('./${workers.get(source)}.mjs', import.meta.url)`
  const isThere = `process.getBuiltinModule('node:fs').existsSync(${bundle})`
  return `(${isThere} ? ${bundle} : new URL(${urlOf(source)}))`
}

const urlOf = (path) => JSON.stringify(pathToFileURL(path).href)

/**
 * Sources find their scripts and descriptors beside themselves: in the bundle too they are told where they were, not
 * where the bundle is.
 */
const sourcesKnowTheirPlace = {
  name: 'sources-know-their-place',
  setup(build) {
    build.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      if (path.includes('/node_modules/')) return undefined
      const { readFile } = await import('node:fs/promises')
      const text = await readFile(path, 'utf8')
      const contents = text
        .replaceAll(/new URL\('([^']+)', import\.meta\.url\)|import\.meta\.url/g, (found, file = '') => {
          const beside = join(dirname(path), file)
          return workers.has(beside) ? codeOf(beside) : found.replace('import.meta.url', urlOf(path))
        })
        .replaceAll('import.meta.dirname', JSON.stringify(dirname(path)))
      return { contents, loader: 'ts' }
    })
  },
}

async function bundleInto(folder) {
  const { build, stop } = await import('esbuild')
  const apps = readdirSync(join(root, 'apps')).filter((name) => existsSync(join(root, 'apps', name, 'src/main.ts')))
  try {
    await build({
      absWorkingDir: root,
      entryPoints: [
        ...apps.map((name) => ({ in: `apps/${name}/src/main.ts`, out: name })),
        ...[...workers].map(([source, name]) => ({ in: source, out: name })),
      ],
      outdir: folder,
      outExtension: { '.js': '.mjs' },
      bundle: true,
      splitting: true,
      // It loads a library of machine code from its own folder.
      external: ['koffi'],
      platform: 'node',
      target: 'node26',
      format: 'esm',
      // Packages in CommonJS ask for Node's modules by this name.
      banner: { js: "import { createRequire as r } from 'node:module'; const require = r(import.meta.url);" },
      keepNames: true,
      legalComments: 'none',
      logLevel: 'silent',
      plugins: [sourcesKnowTheirPlace],
    })
  } finally {
    // It has a process of its own, which would stay for as long as the app runs.
    await stop()
  }
}

/** Makes the bundles of all apps; whoever makes them at the same time makes the same, and the first one's are used. */
async function makeBundles(folder) {
  const mine = `${folder}.${process.pid}`
  try {
    mkdirSync(home, { recursive: true })
    await bundleInto(mine)
    renameSync(mine, folder)
  } catch (error) {
    rmSync(mine, { recursive: true, force: true })
    if (!existsSync(folder)) throw error
  }
  for (const name of readdirSync(home)) {
    const path = join(home, name)
    const { mtimeMs } = statSync(path, { throwIfNoEntry: false }) ?? {}
    if (path !== folder && mtimeMs !== undefined && Date.now() - mtimeMs > keep)
      rmSync(path, { recursive: true, force: true })
  }
}

async function entryOf(app) {
  const folder = join(home, stateOfSources())
  const bundle = join(folder, `${app}.mjs`)
  try {
    if (!existsSync(folder)) await makeBundles(folder)
    if (existsSync(bundle)) return bundle
  } catch (error) {
    // Whoever installs wants to know; whoever starts an app wants it started.
    if (process.env.FLOTILLA_BUNDLE === 'must') throw error
  }
  return join(root, 'apps', app, 'src/main.ts')
}

const [app, ...args] = process.argv.slice(2)
if (app === undefined || !existsSync(join(root, 'apps', app, 'src/main.ts'))) {
  process.stderr.write(`usage: tools/app NAME [options]; names are the folders of apps/, which has no "${app ?? ''}"\n`)
  process.exit(2)
}
const entry = await entryOf(app)
process.argv = [process.argv[0], entry, ...args]
await import(pathToFileURL(entry).href)
