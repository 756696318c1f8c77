import { buildImage, pushImage, startRegistry } from '@flotilla/testing'
import { expect, test } from 'vitest'
import { bytesOf, quickClient } from './fixtures.ts'
import type { Credential } from './index.ts'

const image = await buildImage({ scratch: true, layers: [[{ name: 'a', content: 'the bytes of a layer' }]] })

async function reading(messages: boolean, times: boolean, auth: 'basic' | 'token') {
  await using registry = await startRegistry({ auth })
  const reference = await pushImage(registry, 'some/image:1', image)
  await using client = quickClient()
  let text = ''
  const { username, password } = registry
  const credentials = async (): Promise<Credential> => ({ kind: 'password', username, password })
  const write = (more: string) => {
    text += more
  }
  const repository = client.repository(reference, { credentials, transcript: { messages, times, write } })
  const target = await repository.resolve()
  for (const blob of [image.manifest, ...image.layers]) await bytesOf(repository.fetch(blob))
  await expect(
    bytesOf(repository.fetch({ ...image.config, digest: image.config.digest.replace(/.$/, 'z') })),
  ).rejects.toThrow()
  return { text, registry, target }
}

test('shows heads and manifests, and neither layers nor who we are', async () => {
  const { text, registry, target } = await reading(true, false, 'token')
  expect(target.digest).toBe(image.target.digest)
  expect(text).toContain('HEAD /v2/some/image/manifests/1 HTTP/1.1\nhost: ')
  expect(text).toMatch(/^HTTP\/1\.1 401\n(?:.+\n)*www-authenticate: Bearer realm=/m)
  expect(text).toMatch(/^authorization: Bearer \*\*\*$/m)
  expect(text).toContain(image.manifest.bytes.toString())
  expect(text).toContain(`GET /v2/some/image/blobs/${image.layers[0]?.digest}`)
  for (const secret of [registry.password, encodeURIComponent(registry.password), '"token"', '"access_token"'])
    expect(text).not.toContain(secret)
  for (const { bytes } of image.layers) expect(text).not.toContain(bytes.toString())
  expect(text).not.toContain('* GET')
})

test('shows how long each exchange took', async () => {
  const { text } = await reading(false, true, 'basic')
  const lines = text.trim().split('\n')
  for (const line of lines) expect(line).toMatch(/^\* (?:GET|HEAD) https?:\/\/\S+: .+ after \d+ ms$/)
  expect(lines.some((line) => / 401 after/.test(line))).toBe(true)
  expect(lines.some((line) => / 200 after/.test(line))).toBe(true)
})
