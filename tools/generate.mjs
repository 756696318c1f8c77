// Generates libs/api/src/gen from proto/: TypeScript for every message and service, and the descriptor set that the
// reflection service answers from.
import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const gen = join(root, 'libs/api/src/gen')
const bin = join(root, 'node_modules/.bin')
const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` }
const buf = (...args) => execFileSync(join(bin, 'buf'), args, { cwd: join(root, 'proto'), env, stdio: 'inherit' })

rmSync(gen, { recursive: true, force: true })
mkdirSync(gen, { recursive: true })
buf('generate')
buf('build', '.', '-o', join(gen, 'descriptors.binpb'))
