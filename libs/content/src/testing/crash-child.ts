/**
 * A process for crash tests: opens a store and writes, telling on standard output what was acknowledged, one JSON line
 * each, until it is killed. Arguments: URL of Redis, root, `stream` or `commits`, seed.
 */
import { createHash } from 'node:crypto'
import { writeSync } from 'node:fs'
import { WriteAction } from '@flotilla/api/containerd/services/content/v1/content'
import { createMetadata } from '@flotilla/metadata'
import { makeCall } from '@flotilla/rpc'
import { contentWriter } from '@flotilla/testing/content-suite'
import { createContentService } from '../index.ts'

const [url = '', root = '', mode = '', seed = ''] = process.argv.slice(2)
const tell = (line: object) => writeSync(1, `${JSON.stringify(line)}\n`)
const metadata = await createMetadata({ url, origin: 'node-1' })
const { content } = await createContentService({ metadata, root, nodeName: 'node-1', policy: () => 'shared' })
const call = makeCall({ namespace: 'crash' })
tell({ ready: true })

/** One large blob, piece after piece, resumed where an earlier process was killed. */
async function stream() {
  const piece = Buffer.alloc(64 * 1024, 'piece ')
  const writer = contentWriter(content, call)
  let { offset } = await writer.send({ ref: 'stream' })
  tell({ offset })
  for (;;) {
    ;({ offset } = await writer.send({ action: WriteAction.WRITE, offset, data: piece }))
    tell({ offset })
  }
}

/** Blob after blob; some are deleted again. */
async function commits(name: string) {
  for (let i = 0; ; i++) {
    const data = Buffer.from(`${seed} ${name} ${i} `.padEnd(5_000, 'x'))
    const digest = `sha256:${createHash('sha256').update(data).digest('hex')}`
    const writer = contentWriter(content, call)
    await writer.send({ ref: `${name} ${i}`, total: data.length, expected: digest })
    await writer.send({ action: WriteAction.WRITE, data })
    await writer.send({ action: WriteAction.COMMIT, offset: data.length })
    await writer.end()
    tell({ committed: digest })
  }
}

if (mode === 'stream') await stream()
else await Promise.all(['a', 'b', 'c'].map(commits))
