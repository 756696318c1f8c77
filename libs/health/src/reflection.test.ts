import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { createFileRegistry, fromBinary } from '@bufbuild/protobuf'
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { HealthDefinition } from '@flotilla/api/grpc/health/v1/health'
import { ServerReflectionDefinition, ServerReflectionRequest } from '@flotilla/api/grpc/reflection/v1/reflection'
import { ServerReflectionDefinition as ServerReflectionAlphaDefinition } from '@flotilla/api/grpc/reflection/v1alpha/reflection'
import { clientOf, connect, createRpcServer, makeCall, status } from '@flotilla/rpc'
import { tempWorld } from '@flotilla/testing'
import { beforeAll, describe, expect, test } from 'vitest'
import { createHealthService } from './health.ts'
import { addReflection } from './reflection.ts'

type Asked = Parameters<typeof ServerReflectionRequest.fromPartial>[0]

let descriptors: Uint8Array

beforeAll(async () => {
  descriptors = await readFile(fileURLToPath(import.meta.resolve('@flotilla/api/descriptors.binpb')))
})

async function served() {
  const stack = new AsyncDisposableStack()
  const world = stack.use(await tempWorld())
  const server = stack.use(createRpcServer())
  server.add(HealthDefinition, createHealthService())
  addReflection(server, descriptors, [HealthDefinition.fullName])
  const connection = connect(await server.listen(`unix://${world.join('reflection.sock')}`))
  stack.defer(() => connection.close())
  const ask = async (definition: typeof ServerReflectionDefinition, ...requests: Asked[]) => {
    async function* asked() {
      for (const request of requests) yield ServerReflectionRequest.fromPartial(request)
    }
    return Array.fromAsync(clientOf(definition, connection).serverReflectionInfo(asked(), makeCall()))
  }
  return {
    v1: (...requests: Asked[]) => ask(ServerReflectionDefinition, ...requests),
    v1alpha: (...requests: Asked[]) => ask(ServerReflectionAlphaDefinition as never, ...requests),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

const filesIn = (answer: { fileDescriptorResponse?: { fileDescriptorProto: Uint8Array[] } | undefined } | undefined) =>
  (answer?.fileDescriptorResponse?.fileDescriptorProto ?? []).map((bytes) =>
    fromBinary(FileDescriptorProtoSchema, bytes),
  )

describe.each(['v1', 'v1alpha'] as const)('reflection %s', (version) => {
  test('lists what the server has', async () => {
    await using server = await served()
    const [answer] = await server[version]({ host: 'h', listServices: '*' })
    expect(answer?.listServicesResponse?.service.map(({ name }) => name)).toEqual([
      'grpc.health.v1.Health',
      'grpc.reflection.v1.ServerReflection',
      'grpc.reflection.v1alpha.ServerReflection',
    ])
    expect(answer).toMatchObject({ validHost: 'h', originalRequest: { host: 'h', listServices: '*' } })
  })

  test('gives files that a client can build the service from', async () => {
    await using server = await served()
    const [answer] = await server[version]({ fileContainingSymbol: 'containerd.services.images.v1.Images' })
    const files = filesIn(answer)
    expect(files[0]?.name).toBe('containerd/services/images/v1/images.proto')
    const registry = createFileRegistry(
      fromBinary(FileDescriptorSetSchema, descriptors).file.find(({ name }) => name === files[0]?.name)!,
      (name) => files.find((file) => file.name === name),
    )
    const service = registry.getService('containerd.services.images.v1.Images')
    expect(service?.methods.map(({ name }) => name)).toEqual(['Get', 'List', 'Create', 'Update', 'Delete'])
    expect(registry.getMessage('containerd.services.images.v1.Image')?.field.target?.number).toBe(3)
  })

  test.each([
    ['a method', 'containerd.services.tasks.v1.Tasks.Kill', 'containerd/services/tasks/v1/tasks.proto'],
    ['a message', 'containerd.types.Descriptor', 'containerd/types/types.proto'],
    [
      'a nested message',
      'containerd.services.containers.v1.Container.Runtime',
      'containerd/services/containers/v1/containers.proto',
    ],
    ['a field', 'grpc.health.v1.HealthCheckRequest.service', 'grpc/health/v1/health.proto'],
    ['an enum', 'grpc.health.v1.HealthCheckResponse.ServingStatus', 'grpc/health/v1/health.proto'],
    ['an enum value', 'grpc.health.v1.HealthCheckResponse.NOT_SERVING', 'grpc/health/v1/health.proto'],
    ['a name with a leading dot', '.google.protobuf.Any', 'google/protobuf/any.proto'],
  ])('finds %s', async (_, fileContainingSymbol, name) => {
    await using server = await served()
    const [answer] = await server[version]({ fileContainingSymbol })
    expect(filesIn(answer)[0]?.name).toBe(name)
  })

  test('a stream carries an import once, but always the file that was asked for', async () => {
    await using server = await served()
    const answers = await server[version](
      { fileByFilename: 'containerd/services/images/v1/images.proto' },
      { fileByFilename: 'containerd/services/diff/v1/diff.proto' },
      { fileByFilename: 'containerd/types/types.proto' },
    )
    const names = answers.map((answer) => filesIn(answer).map(({ name }) => name))
    expect(names[0]).toContain('containerd/types/types.proto')
    expect(names[1]?.[0]).toBe('containerd/services/diff/v1/diff.proto')
    expect(names[1]).not.toContain('containerd/types/types.proto')
    expect(names[2]).toEqual(['containerd/types/types.proto'])
  })

  test('what is not there is an error in the stream, which goes on', async () => {
    await using server = await served()
    const answers = await server[version](
      { fileContainingSymbol: 'no.such.Thing' },
      { fileByFilename: 'no/such.proto' },
      { fileContainingExtension: { containingType: 'containerd.types.Mount', extensionNumber: 5 } },
      { allExtensionNumbersOfType: 'no.such.Message' },
      { allExtensionNumbersOfType: 'containerd.types.Mount' },
      {},
      { listServices: '' },
    )
    expect(answers.map(({ errorResponse }) => errorResponse?.errorCode)).toEqual([
      status.NOT_FOUND,
      status.NOT_FOUND,
      status.NOT_FOUND,
      status.NOT_FOUND,
      undefined,
      status.INVALID_ARGUMENT,
      undefined,
    ])
    expect(answers[0]?.errorResponse?.errorMessage).toBe('symbol "no.such.Thing" not found')
    expect(answers[4]?.allExtensionNumbersResponse).toEqual({
      baseTypeName: 'containerd.types.Mount',
      extensionNumber: [],
    })
    expect(answers[6]?.listServicesResponse?.service).toHaveLength(3)
  })
})

test('without names every service of the descriptors is listed', async () => {
  await using world = await tempWorld()
  await using server = createRpcServer()
  addReflection(server, descriptors)
  const connection = connect(await server.listen(`unix://${world.join('all.sock')}`))
  async function* asked() {
    yield ServerReflectionRequest.fromPartial({ listServices: '' })
  }
  const [answer] = await Array.fromAsync(
    clientOf(ServerReflectionDefinition, connection).serverReflectionInfo(asked(), makeCall()),
  )
  connection.close()
  const names = answer?.listServicesResponse?.service.map(({ name }) => name)
  expect(names).toContain('containerd.services.tasks.v1.Tasks')
  expect(names).toContain('grpc.reflection.v1.ServerReflection')
})
