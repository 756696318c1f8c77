// Measures how fast a layer is unpacked: `node bench/apply.ts [LAYER.tar.gz]`. Without an argument it makes a layer of
// 32,000 files and 768 MiB that compresses about three to one. Works on tmpfs; each figure is one run, after a warm-up.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createLayerPool } from '../src/index.ts'

const place = mkdtempSync('/dev/shm/flotilla-bench-')
try {
  const layer = process.argv[2] ?? makeLayer()
  await using pool = createLayerPool({ workers: 1 })
  const apply = async (from: string) => {
    const root = mkdtempSync(join(place, 'root-'))
    const start = performance.now()
    const target = { kind: 'overlay', upper: root, lowers: [] } as const
    const result = await pool.apply({ source: { from: { path: from }, compression: 'detect' }, target })
    const seconds = (performance.now() - start) / 1000
    rmSync(root, { recursive: true })
    return { seconds, result }
  }
  const small = join(place, 'empty.tar')
  writeFileSync(small, Buffer.alloc(1024))
  await apply(small)
  for (let run = 1; run <= 3; run++) {
    const { seconds, result } = await apply(layer)
    console.log(`ours  ${seconds.toFixed(2)} s  ${(result.size / seconds / 2 ** 20).toFixed(0)} MiB/s`)
  }
  const root = mkdtempSync(join(place, 'root-'))
  const start = performance.now()
  execFileSync('tar', ['-xzf', layer, '-C', root])
  console.log(`GNU tar ${((performance.now() - start) / 1000).toFixed(2)} s`)
} finally {
  rmSync(place, { recursive: true })
}

function makeLayer(): string {
  const tree = join(place, 'tree')
  const words = createHash('sha256').update('layer').digest('hex')
  for (let index = 0; index < 32_000; index++) {
    const directory = join(tree, `d${index % 320}`, `e${index % 7}`)
    if (index < 320 * 7) mkdirSync(directory, { recursive: true })
    const text = createHash('sha512').update(String(index)).digest()
    // Half is noise and half is repeated: compresses like programs do.
    const size = index % 100 === 0 ? 1_500_000 : 9_500
    const noise = Buffer.concat(
      Array.from({ length: Math.ceil(size / 256) }, (_, at) => mix(text, at, words)),
    ).subarray(0, size)
    writeFileSync(join(directory, `f${index}`), noise)
  }
  const layer = join(place, 'layer.tar.gz')
  execFileSync('tar', ['-czf', layer, '-C', tree, '.'])
  rmSync(tree, { recursive: true })
  return layer
}

function mix(text: Buffer, at: number, words: string): Buffer {
  const piece = Buffer.alloc(256, words)
  for (let index = 0; index < 64; index++) piece[index * 3] = (text[index] ?? 0) ^ (at * 31)
  return piece
}
