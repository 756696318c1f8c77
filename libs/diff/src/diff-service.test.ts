import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { WriteAction, WriteContentRequest } from '@flotilla/api/containerd/services/content/v1/content'
import { ApplyRequest, DiffRequest } from '@flotilla/api/containerd/services/diff/v1/diff'
import { Mount } from '@flotilla/api/containerd/types/types'
import { mountAll, mountInfo, unmountAll } from '@flotilla/linux'
import { makeCall, status } from '@flotilla/rpc'
import { blobOf, digestOf, type LayerBlob, type LayerEntry, layerOf } from '@flotilla/testing'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { prepareTemporary } from './temporary.ts'
import { type DiffWorld, diffWorld } from './testing/world.ts'

const oci = 'application/vnd.oci.image.layer.v1.tar'
const uncompressed = 'containerd.io/uncompressed'

let world: DiffWorld
let count = 0
let base: string
beforeAll(async () => {
  const script = (text: string) => ['-c', text]
  world = await diffWorld([
    {
      id: 'rot',
      accepts: ['x/rotated'],
      returns: `${oci}+gzip`,
      path: 'sh',
      args: script('tr "\\001-\\377" "\\002-\\377\\001"'),
      env: [],
    },
    {
      id: 'twice',
      accepts: ['x/twice'],
      returns: 'x/rotated',
      path: 'sh',
      args: script('tr "\\001-\\377" "\\002-\\377\\001"'),
      env: [],
    },
    {
      id: 'payload',
      accepts: [`${oci}+encrypted`],
      returns: oci,
      path: 'sh',
      args: script('cat <&3 >"$OUT"; echo "$STREAM_PROCESSOR_MEDIATYPE" >>"$OUT"; cat'),
      env: [`OUT=/dev/shm/flotilla-payload-${process.pid}`],
    },
    {
      id: 'broken',
      accepts: ['x/broken'],
      returns: oci,
      path: 'sh',
      args: script('head -c 700; echo no key >&2; exit 3'),
      env: [],
    },
    { id: 'absent', accepts: ['x/absent'], returns: oci, path: '/absent/program', args: [], env: [] },
    { id: 'circle', accepts: ['x/circle'], returns: 'x/circle', path: 'cat', args: [], env: [] },
    { id: 'slow', accepts: ['x/slow'], returns: oci, path: 'sleep', args: ['600'], env: [] },
  ])
})
afterAll(async () => {
  rmSync(`/dev/shm/flotilla-payload-${process.pid}`, { force: true })
  await world[Symbol.asyncDispose]()
})
beforeEach(() => {
  base = world.join(`case-${++count}`)
  for (const name of ['lower', 'lowest', 'upper', 'work', 'root', 'merged', 'empty'])
    mkdirSync(`${base}/${name}`, { recursive: true })
})
afterEach(async () => {
  await unmountAll(base)
  expect(mountInfo().filter((one) => one.target.startsWith(world.join('tmp')))).toEqual([])
  expect(readdirSync(world.join('tmp'))).toEqual([])
})

const bind = (path: string, mode = 'rw') => Mount.fromPartial({ type: 'bind', source: path, options: ['rbind', mode] })
const overlay = (...options: string[]) => Mount.fromPartial({ type: 'overlay', source: 'overlay', options })
const file = (name: string, content = name): LayerEntry => ({ name, content, mode: 0o644 })
/** Lowers, nearest first. */
const active = (...lowers: string[]) => [
  overlay(
    `workdir=${base}/work`,
    `upperdir=${base}/upper`,
    ...(lowers.length > 0 ? [`lowerdir=${lowers.join(':')}`] : []),
  ),
]

async function apply(layer: LayerBlob, mounts: Mount[], options: { mediaType?: string; syncFs?: boolean } = {}) {
  await world.put(layer.digest, layer.bytes)
  return await applyDigest(layer.digest, layer.size, options.mediaType ?? layer.mediaType, mounts, options.syncFs)
}

async function applyDigest(
  digest: string,
  size: number,
  mediaType: string,
  mounts: Mount[],
  syncFs = false,
  call = world.call,
) {
  const { applied } = await world.diff.apply(
    ApplyRequest.fromPartial({ diff: { digest, size, mediaType }, mounts, syncFs }),
    call,
  )
  return applied
}

describe('apply', () => {
  it.each(['none', 'gzip', 'zstd'] as const)(
    'unpacks a %s layer into a bind mount and answers the tar',
    async (compression) => {
      const layer = await layerOf([file(`a-${compression}`, 'x'.repeat(3000))], compression)
      const applied = await apply(layer, [bind(`${base}/root`)])
      expect(applied).toMatchObject({ mediaType: oci, digest: layer.diffId })
      expect(applied?.size).toBeGreaterThan(3000)
      expect(readdirSync(`${base}/root`)).toEqual([`a-${compression}`])
    },
  )

  it('writes whiteouts of an overlay straight into its upper directory', async () => {
    writeFileSync(`${base}/lower/gone`, '')
    mkdirSync(`${base}/lowest/dir`, { mode: 0o700 })
    await apply(await layerOf([file('.wh.gone', ''), file('dir/f')]), active(`${base}/lower`, `${base}/lowest`))
    expect(lstatSync(`${base}/upper/gone`).isCharacterDevice()).toBe(true)
    expect(lstatSync(`${base}/upper/dir`).mode & 0o777).toBe(0o700)
    expect(readdirSync(`${base}/work`)).toEqual([])
  })

  it('works for an overlay that has an upper directory only', async () => {
    await apply(await layerOf([file('first')]), active())
    expect(readdirSync(`${base}/upper`)).toEqual(['first'])
  })

  it('mounts anything else, and deletes what whiteouts name', async () => {
    for (const name of ['lower/gone', 'lower/kept']) writeFileSync(`${base}/${name}`, '')
    const mounts = [
      bind(`${base}/lower`),
      Mount.fromPartial({ type: 'tmpfs', source: 'tmpfs', target: 'sub', options: ['size=1m'] }),
    ]
    mkdirSync(`${base}/lower/sub`)
    await apply(await layerOf([file('.wh.gone', ''), file('sub/hidden'), file('new')]), mounts, { syncFs: true })
    expect(readdirSync(`${base}/lower`).sort()).toEqual(['kept', 'new', 'sub'])
    expect(readdirSync(`${base}/lower/sub`)).toEqual([])
  })

  it('syncs the file system when asked', async () => {
    await apply(await layerOf([file('synced')]), [bind(`${base}/root`)], { syncFs: true })
    await apply(await layerOf([file('synced too')]), active(`${base}/lower`), { syncFs: true })
    expect(readdirSync(`${base}/upper`)).toEqual(['synced too'])
  })

  it('takes an empty blob as an empty layer', async () => {
    const empty = blobOf('application/vnd.docker.image.rootfs.diff.tar.gzip', Buffer.alloc(0))
    await world.put(empty.digest, empty.bytes)
    const applied = await applyDigest(empty.digest, 0, empty.mediaType, [bind(`${base}/root`)])
    expect(applied).toMatchObject({ size: 0, digest: empty.digest })
  })

  it.each([
    ['application/vnd.docker.image.rootfs.diff.tar', true],
    ['application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', true],
    ['application/vnd.docker.image.rootfs.diff.tar.zstd', true],
    ['application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', true],
    [`${oci}+zstd`, true],
    [`${oci}+gzip+encrypted2`, true],
    [oci, false],
    [`${oci}+other`, false],
    ['application/vnd.docker.image.rootfs.diff.tar.gzip+other', false],
  ])('of a gzip blob as %s looks for compression: %s', async (mediaType, works) => {
    const layer = await layerOf([file('f')])
    const applied = apply(layer, [bind(`${base}/root`)], { mediaType })
    if (works) expect(await applied).toMatchObject({ digest: layer.diffId })
    else await expect(applied).rejects.toThrow(/tar/)
  })

  it('says what it cannot read', async () => {
    const layer = await layerOf([file('f')])
    await world.put(layer.digest, layer.bytes)
    const mounts = [bind(`${base}/root`)]
    await expect(applyDigest(layer.digest, layer.size, 'text/plain', mounts)).rejects.toMatchObject({
      code: status.UNKNOWN,
      message: 'failed to get stream processor for text/plain: no processor for media-type',
    })
    const absent = digestOf(Buffer.from('absent'))
    await expect(applyDigest(absent, 1, oci, mounts)).rejects.toMatchObject({
      code: status.NOT_FOUND,
      message: `failed to get reader from content store: content digest ${absent}: not found`,
    })
    const other = makeCall({ namespace: 'other' })
    await expect(applyDigest(layer.digest, layer.size, oci, mounts, false, other)).rejects.toMatchObject({
      code: status.NOT_FOUND,
    })
    await expect(applyDigest('', 0, oci, mounts)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
    await expect(world.diff.apply(ApplyRequest.fromPartial({}), world.call)).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    })
    await expect(applyDigest(absent, 1, oci, mounts, false, makeCall())).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
      message: 'namespace is required: failed precondition',
    })
  })

  it('fails when the mounts do', async () => {
    const layer = await layerOf([file('f')])
    await expect(apply(layer, [bind(`${base}/absent`)])).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(apply(layer, [Mount.fromPartial({ type: 'format/x', source: 'x' })])).rejects.toThrow('not supported')
  })

  it('ends when its caller has gone', async () => {
    const layer = await layerOf([file('f')])
    await world.put(layer.digest, layer.bytes)
    const call = makeCall({ namespace: 'default', timeout: 300 })
    await expect(
      applyDigest(layer.digest, layer.size, 'x/slow', [bind(`${base}/root`)], false, call),
    ).rejects.toMatchObject({
      name: 'TimeoutError',
    })
  })
})

describe('stream processors', () => {
  const rotate = (bytes: Buffer, by: number) =>
    Buffer.from(bytes.map((byte) => (byte === 0 ? 0 : ((byte - 1 - by + 255) % 255) + 1)))

  it('are run one behind the other until a tar comes out', async () => {
    const layer = await layerOf([file('deep', 'x'.repeat(200_000))])
    for (const [mediaType, by] of [
      ['x/rotated', 1],
      ['x/twice', 2],
    ] as const) {
      const bytes = rotate(layer.bytes, by)
      const digest = digestOf(bytes)
      await world.put(digest, bytes)
      expect(await applyDigest(digest, bytes.length, mediaType, [bind(`${base}/root`)])).toMatchObject({
        digest: layer.diffId,
      })
    }
    expect(readFileSync(`${base}/root/deep`, 'utf8')).toHaveLength(200_000)
  })

  it('get their payload and the media type, and go before what is built in', async () => {
    const layer = await layerOf([file('f')], 'none')
    await world.put(layer.digest, layer.bytes)
    const mediaType = `${oci}+encrypted`
    const payloads = {
      payload: { typeUrl: 'type/of.it', value: Buffer.from('key') },
      other: { typeUrl: 'no', value: Buffer.from('no') },
    }
    const request = ApplyRequest.fromPartial({
      diff: { digest: layer.digest, mediaType },
      mounts: [bind(`${base}/root`)],
      payloads,
    })
    await world.diff.apply(request, world.call)
    const seen = readFileSync(`/dev/shm/flotilla-payload-${process.pid}`, 'latin1')
    expect(seen).toBe(`\n\ntype/of.it\x12\x03key${mediaType}\n`)
  })

  it.each([
    ['x/broken', /broken exited with 3: no key/],
    ['x/absent', /ENOENT/],
    ['x/circle', /failed to get stream processor for x\/circle: no processor/],
  ])('%s that fail say why', async (mediaType, message) => {
    const layer = await layerOf([file('f', 'y'.repeat(5000))], 'none')
    await expect(apply(layer, [bind(`${base}/root`)], { mediaType })).rejects.toThrow(message)
  })
})

function changed(): { left: Mount[]; right: Mount[] } {
  for (const name of ['same', 'gone', 'changed']) writeFileSync(`${base}/lower/${name}`, `${count}-${name}`)
  return { left: [bind(`${base}/lower`, 'ro')], right: active(`${base}/lower`) }
}

async function change(right: Mount[]): Promise<void> {
  await mountAll(right, `${base}/merged`)
  unlinkSync(`${base}/merged/gone`)
  writeFileSync(`${base}/merged/changed`, `${count} now longer`)
  writeFileSync(`${base}/merged/new`, `${count}`)
  await unmountAll(`${base}/merged`)
}

const diff = async (request: Parameters<typeof DiffRequest.fromPartial>[0], call = world.call) => {
  const { diff: descriptor } = await world.diff.diff(DiffRequest.fromPartial(request), call)
  if (descriptor === undefined) throw new Error('no descriptor')
  return descriptor
}
const namesOf = (tar: Buffer) => execFileSync('tar', ['-t'], { input: tar, encoding: 'utf8' }).split('\n').slice(0, -1)

describe('diff', () => {
  it('writes the changes of an active snapshot, gzip unless told otherwise, with label and size', async () => {
    const { left, right } = changed()
    await change(right)
    const descriptor = await diff({ left, right, labels: { mine: 'yes' } })
    expect(descriptor.mediaType).toBe(`${oci}+gzip`)
    const bytes = await world.get(descriptor.digest)
    expect(bytes.length).toBe(descriptor.size)
    expect(digestOf(bytes)).toBe(descriptor.digest)
    expect(namesOf(gunzipSync(bytes))).toEqual(['changed', '.wh.gone', 'new'])
    const { info } = await world.content.info({ digest: descriptor.digest }, world.call)
    expect(info?.labels).toEqual({ mine: 'yes', [uncompressed]: digestOf(gunzipSync(bytes)) })
  })

  it('gives the same tree when its layer is applied', async () => {
    const { left, right } = changed()
    await change(right)
    const { digest, size, mediaType } = await diff({ left, right, mediaType: `${oci}+zstd` })
    await mountAll(right, `${base}/merged`)
    execFileSync('cp', ['-a', `${base}/lower/.`, `${base}/root`])
    await applyDigest(digest, size, mediaType, [bind(`${base}/root`)])
    const list = (path: string) => execFileSync('sh', ['-c', 'ls -lnR && cat *'], { cwd: path, encoding: 'utf8' })
    expect(list(`${base}/root`)).toBe(list(`${base}/merged`))
  })

  it.each([
    [oci, (bytes: Buffer) => bytes],
    [`${oci}+zstd`, zstdDecompressSync],
  ])('writes %s', async (mediaType, decompress) => {
    const { left, right } = changed()
    await change(right)
    const { digest } = await diff({ left, right, mediaType })
    expect(namesOf(decompress(await world.get(digest)))).toEqual(['changed', '.wh.gone', 'new'])
    const { info } = await world.content.info({ digest }, world.call)
    expect(uncompressed in (info?.labels ?? {})).toBe(mediaType !== oci)
  })

  it('reads views, binds and nothing at all the same way', async () => {
    const { left, right } = changed()
    await change(right)
    const mounted = await diff({ left, right: [overlay(`lowerdir=${base}/upper:${base}/lower`)] })
    expect(mounted.digest).toBe((await diff({ left, right })).digest)
    const whole = await diff({ left: [], right: [bind(`${base}/lower`)], mediaType: oci })
    expect(namesOf(await world.get(whole.digest))).toEqual(['changed', 'gone', 'same'])
    const removed = await diff({ left: [bind(`${base}/lower`)], right: [bind(`${base}/empty`)], mediaType: oci })
    expect(namesOf(await world.get(removed.digest))).toEqual(['.wh.changed', '.wh.gone', '.wh.same'])
    const onlyUpper = await diff({ left: [], right: active(), mediaType: oci })
    expect(namesOf(await world.get(onlyUpper.digest))).toContain('new')
  })

  it('of several lower layers has only what the topmost adds', async () => {
    writeFileSync(`${base}/lowest/deep`, 'deep')
    const left = [overlay(`lowerdir=${base}/lower:${base}/lowest`)]
    changed()
    const right = active(`${base}/lower`, `${base}/lowest`)
    await change(right)
    chmodSync(`${base}/lowest/deep`, 0o600)
    const { digest } = await diff({ left, right, mediaType: oci })
    expect(namesOf(await world.get(digest))).toEqual(['changed', '.wh.gone', 'new'])
  })

  it('may be written again: the blob stays, and gets a label that it lacks', async () => {
    const { left, right } = changed()
    await change(right)
    const first = await diff({ left, right, ref: 'my-ref' })
    await world.content.update(
      {
        info: { digest: first.digest, size: 0, createdAt: undefined, updatedAt: undefined, labels: { kept: '1' } },
        updateMask: ['labels'],
      },
      world.call,
    )
    expect(await diff({ left, right, ref: 'my-ref' })).toEqual(first)
    const { info } = await world.content.info({ digest: first.digest }, world.call)
    expect(Object.keys(info?.labels ?? {}).sort()).toEqual([uncompressed, 'kept'])
  })

  it('drops what an earlier writer left under its ref', async () => {
    const { left, right } = changed()
    await change(right)
    const request = WriteContentRequest.fromPartial({
      action: WriteAction.WRITE,
      ref: 'left-over',
      data: Buffer.from('old bytes'),
    })
    for await (const _ of world.content.write(
      (async function* () {
        yield request
      })(),
      world.call,
    ))
      break
    const { digest } = await diff({ left, right, ref: 'left-over' })
    expect(digestOf(await world.get(digest))).toBe(digest)
  })

  it('caps times by source_date_epoch', async () => {
    const { left, right } = changed()
    await change(right)
    const { digest } = await diff({ left, right, mediaType: oci, sourceDateEpoch: { seconds: 1000, nanos: 5 } })
    const listing = execFileSync('tar', ['-tv', '--full-time'], {
      input: await world.get(digest),
      encoding: 'utf8',
      env: { TZ: 'UTC' },
    })
    expect(listing.match(/1970-01-01 00:16:40/g)).toHaveLength(2)
  })

  it('says what it cannot do, and leaves no ingest', async () => {
    const { left, right } = changed()
    const before = await world.content.listStatuses({ filters: [] }, world.call)
    const docker = 'application/vnd.docker.image.rootfs.diff.tar.gzip'
    await expect(diff({ left, right, mediaType: docker })).rejects.toMatchObject({
      code: status.UNIMPLEMENTED,
      message: `unsupported diff media type: ${docker}: not implemented`,
    })
    await expect(diff({ left, right: [bind(`${base}/absent`)] })).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(diff({ left, right, labels: { big: 'x'.repeat(5000) } })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    })
    await expect(diff({ left, right }, makeCall())).rejects.toMatchObject({ code: status.FAILED_PRECONDITION })
    await expect(
      diff({ left, right }, makeCall({ namespace: 'default', signal: AbortSignal.abort() })),
    ).rejects.toThrow()
    expect(await world.content.listStatuses({ filters: [] }, world.call)).toEqual(before)
  })

  it('is UNAVAILABLE while another writer has its ref', async () => {
    const { left, right } = changed()
    let release: () => void = () => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    async function* requests() {
      yield WriteContentRequest.fromPartial({ action: WriteAction.STAT, ref: 'busy' })
      await held
    }
    const answers = world.content.write(requests(), world.call)[Symbol.asyncIterator]()
    await answers.next()
    await expect(diff({ left, right, ref: 'busy' })).rejects.toMatchObject({ code: status.UNAVAILABLE })
    release()
    await answers.next()
  })
})

it('clears away what a killed predecessor left, without touching files behind a mount', async () => {
  const tmp = `${base}/tmp`
  mkdirSync(`${tmp}/flotilla-mount-x/root`, { recursive: true })
  mkdirSync(`${tmp}/flotilla-mount-x/empty`)
  writeFileSync(`${tmp}/layer-1`, 'half')
  writeFileSync(`${base}/lower/kept`, '')
  await mountAll([bind(`${base}/lower`)], `${tmp}/flotilla-mount-x/root`)
  await prepareTemporary(tmp)
  expect(readdirSync(tmp)).toEqual([])
  expect(existsSync(`${base}/lower/kept`)).toBe(true)
})
