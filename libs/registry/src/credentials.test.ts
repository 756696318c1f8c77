import { chmod, writeFile } from 'node:fs/promises'
import { tempWorld } from '@flotilla/testing'
import { expect, it } from 'vitest'
import { parseChallenges } from './challenge.ts'
import { dockerConfigCredentials } from './index.ts'

it('reads what servers ask for', () => {
  expect(parseChallenges('Bearer realm="https://a/token?x=1,2",service="a b",scope="repository:x:pull,push"')).toEqual([
    {
      scheme: 'bearer',
      parameters: { realm: 'https://a/token?x=1,2', service: 'a b', scope: 'repository:x:pull,push' },
    },
  ])
  expect(parseChallenges('BASIC Realm="say \\"friend\\"", bearer realm=plain , error = "invalid_token"')).toEqual([
    { scheme: 'basic', parameters: { realm: 'say "friend"' } },
    { scheme: 'bearer', parameters: { realm: 'plain', error: 'invalid_token' } },
  ])
  expect(parseChallenges('Negotiate, Basic')).toEqual([
    { scheme: 'negotiate', parameters: {} },
    { scheme: 'basic', parameters: {} },
  ])
  for (const nothing of ['', ' , ', '="x"', '"unquoted']) expect(parseChallenges(nothing)).toEqual([])
})

const pair = (username: string, password: string) => ({
  auth: Buffer.from(`${username}:${password}`).toString('base64'),
})

it("knows Docker's names of hosts and its kinds of credentials", async () => {
  await using world = await tempWorld({ name: 'docker' })
  const file = world.join('config.json')
  const ask = dockerConfigCredentials(file)
  expect(await ask('quay.io', '')).toBeUndefined()
  const auths = {
    'https://index.docker.io/v1/': pair('hub', 'se:cret'),
    'quay.io': { username: 'quay', password: 'plain' },
    'https://registry.example': { ...pair('x', 'y'), identitytoken: 'identity' },
    'registry.example.com:5000': { registrytoken: 'bearer' },
    'empty.example.com': {},
  }
  await writeFile(file, JSON.stringify({ auths }))
  expect(await ask('registry-1.docker.io', '')).toEqual({ kind: 'password', username: 'hub', password: 'se:cret' })
  expect(await ask('quay.io', '')).toEqual({ kind: 'password', username: 'quay', password: 'plain' })
  expect(await ask('registry.example', '')).toEqual({ kind: 'refresh', token: 'identity' })
  expect(await ask('registry.example.com:5000', '')).toEqual({ kind: 'header', value: 'Bearer bearer' })
  expect(await ask('registry.example.com', '')).toBeUndefined()
  expect(await ask('empty.example.com', '')).toBeUndefined()
  await writeFile(file, '{')
  await expect(ask('quay.io', '')).rejects.toThrow(`${file} cannot be read`)
})

it('asks the helpers that Docker would ask', async () => {
  await using world = await tempWorld({ name: 'docker' })
  const helper = world.join('docker-credential-flotillatest')
  await writeFile(
    helper,
    `#!/bin/sh
read -r server
case "$1 $server" in
"get quay.io") echo '{"ServerURL":"quay.io","Username":"quay","Secret":"kept"}' ;;
"get registry.example") echo '{"Username":"<token>","Secret":"identity"}' ;;
"get broken.example.com") echo 'the vault is shut'; exit 1 ;;
*) echo 'credentials not found in native keychain'; exit 1 ;;
esac
`,
  )
  await chmod(helper, 0o755)
  const path = process.env.PATH
  process.env.PATH = `${world.path}:${path}`
  try {
    const file = world.join('config.json')
    const credHelpers = { 'quay.io': 'flotillatest', 'broken.example.com': 'flotillatest', 'gone.example.com': 'gone' }
    const auths = { 'gcr.io': pair('gcr', 'x'), 'other.example.com': pair('other', 'x') }
    await writeFile(file, JSON.stringify({ credHelpers, auths }))
    const ask = dockerConfigCredentials(file)
    expect(await ask('quay.io', '')).toEqual({ kind: 'password', username: 'quay', password: 'kept' })
    expect(await ask('registry.example', '')).toBeUndefined()
    await expect(ask('broken.example.com', '')).rejects.toThrow('the vault is shut')
    await expect(ask('gone.example.com', '')).rejects.toThrow('docker-credential-gone')
    await writeFile(file, JSON.stringify({ credsStore: 'flotillatest', auths }))
    expect(await ask('registry.example', '')).toEqual({ kind: 'refresh', token: 'identity' })
    expect(await ask('gcr.io', '')).toEqual({ kind: 'password', username: 'gcr', password: 'x' })
  } finally {
    process.env.PATH = path
  }
})
