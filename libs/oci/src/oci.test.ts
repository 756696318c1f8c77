import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import {
  chainIds,
  checkedDescriptor,
  detectCompression,
  isNonDistributable,
  kindOf,
  normalized,
  rankOf,
  topChainId,
} from './index.ts'

const digest = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`

test('the chain of one layer is its diff ID; each further one hashes what is below with its own', () => {
  const [a, b, c] = ['a', 'b', 'c'].map(digest) as [string, string, string]
  const second = digest(`${a} ${b}`)
  expect(chainIds([a, b, c])).toEqual([a, second, digest(`${second} ${c}`)])
  expect(topChainId([a, b])).toBe(second)
  expect(topChainId([])).toBe('')
})

test.each([
  ['application/vnd.oci.image.manifest.v1+json', 'manifest'],
  ['application/vnd.docker.distribution.manifest.list.v2+json', 'index'],
  ['application/vnd.docker.container.image.v1+json', 'config'],
  ['application/vnd.oci.image.layer.v1.tar+zstd', 'layer'],
  ['application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', 'layer'],
  ['application/vnd.in-toto+json', 'unknown'],
  ['', 'unknown'],
])('%s is of kind %s', (mediaType, kind) => {
  expect(kindOf({ mediaType })).toBe(kind)
})

test('foreign and nondistributable layers are not passed on', () => {
  const types = ['oci.image.layer.nondistributable.v1.tar+gzip', 'docker.image.rootfs.foreign.diff.tar']
  for (const type of types) expect(isNonDistributable({ mediaType: `application/vnd.${type}` })).toBe(true)
  expect(isNonDistributable({ mediaType: 'application/vnd.oci.image.layer.v1.tar' })).toBe(false)
})

describe('platforms', () => {
  test.each([
    [{ os: 'Linux', architecture: 'x86_64' }, 'linux', 'amd64', ''],
    [{ os: 'linux', architecture: 'aarch64', variant: '8' }, 'linux', 'arm64', ''],
    [{ os: 'linux', architecture: 'arm' }, 'linux', 'arm', 'v7'],
    [{ os: 'linux', architecture: 'armel' }, 'linux', 'arm', 'v6'],
    [{ os: 'macos', architecture: 'arm64' }, 'darwin', 'arm64', ''],
  ])('%o has one spelling', (given, os, architecture, variant) => {
    expect(normalized(given)).toEqual({ os, architecture, variant })
  })

  test('stand where the list of wanted ones has them', () => {
    const wanted = [
      { os: 'linux', architecture: 'arm64' },
      { os: 'linux', architecture: 'amd64' },
    ]
    expect(rankOf(wanted, { os: 'linux', architecture: 'x86-64' })).toBe(1)
    expect(rankOf(wanted, { os: 'linux', architecture: 'arm64', variant: 'v9' })).toBe(-1)
    expect(rankOf(wanted, { os: 'windows', architecture: 'amd64' })).toBe(-1)
  })
})

describe('a descriptor of somebody', () => {
  const good = { mediaType: 'x', digest: digest('it'), size: 2 }

  test('keeps what it may have', () => {
    const whole = { ...good, annotations: { a: 'b' }, platform: { os: 'linux' }, urls: ['u'] }
    expect(checkedDescriptor({ ...whole, other: 1 }, 'it')).toEqual(whole)
  })

  test.each([
    ['nothing', undefined, /it: a descriptor is missing/],
    ['a path as digest', { ...good, digest: '../../etc' }, /it: invalid digest "..\/..\/etc"/],
    ['a short digest', { ...good, digest: 'sha256:abc' }, /it: invalid digest/],
    ['a negative size', { ...good, size: -1 }, /it: invalid size -1 of sha256:/],
    ['a size beyond exact numbers', { ...good, size: 2 ** 60 }, /it: invalid size/],
    ['a number as media type', { ...good, mediaType: 3 }, /it: invalid media type of sha256:/],
  ])('%s is refused', (_, value, message) => {
    expect(() => checkedDescriptor(value, 'it')).toThrow(message)
  })
})

test.each([
  ['1f8b08', 'gzip'],
  ['1f8b00', 'none'],
  ['28b52ffd', 'zstd'],
  // A skippable frame of zstd, which only its length tells from text.
  ['572a4d1804000000', 'zstd'],
  ['572a4d18', 'none'],
  ['', 'none'],
  ['75737461', 'none'],
])('a stream that begins with %s is compressed as: %s', (start, compression) => {
  expect(detectCompression(Buffer.from(start, 'hex'))).toBe(compression)
})
