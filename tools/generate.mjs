// Generates libs/api/src/gen from proto/: TypeScript for every message and service, and the descriptor set that the
// reflection service answers from.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
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
// The generated code copies what is bytes. Of blobs, which have many of them, and of the messages within an Any, which are
// kept together with what they came in, it is to give a part of the memory that was read.
for (const file of ['containerd/services/content/v1/content.ts', 'google/protobuf/any.ts']) {
  const path = join(gen, file)
  const text = readFileSync(path, 'utf8')
  const copies = 'Buffer.from(reader.bytes())'
  if (!text.includes(copies)) throw new Error(`${file} does not copy bytes any more, as ${copies}`)
  const parts = `
function partOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
`
  writeFileSync(path, text.replaceAll(copies, 'partOf(reader.bytes())').concat(parts))
}
buf('build', '.', '-o', join(gen, 'descriptors.binpb'))
