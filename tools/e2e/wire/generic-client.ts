import {
  create,
  createFileRegistry,
  type DescMethod,
  type FileRegistry,
  fromBinary,
  fromJson,
  type JsonValue,
  toBinary,
  toJson,
} from '@bufbuild/protobuf'
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { ServerReflectionDefinition, ServerReflectionRequest } from '@flotilla/api/grpc/reflection/v1/reflection'
import { type Call, callRaw, clientOf, connect, makeCall } from '@flotilla/rpc'
import { collect } from '../harness/clients.ts'

type Asked = Parameters<typeof ServerReflectionRequest.fromPartial>[0]

/** A client that knows nothing but an address, as grpcurl does: what there is to call it learns by reflection. */
export interface GenericClient extends Disposable {
  /** Full names of the services that the server lists. */
  services(): Promise<string[]>
  /** Full names of the methods of a service, in the order of its definition. */
  methods(service: string): Promise<string[]>
  /** Calls `SERVICE/METHOD` with requests in JSON, whatever its kind; gives the answers in JSON. */
  call(method: string, requests: JsonValue | readonly JsonValue[], call: Call): Promise<JsonValue[]>
}

/** @param address `unix:///path` or `host:port` */
export function genericClient(address: string): GenericClient {
  const channel = connect(address)
  const reflection = clientOf(ServerReflectionDefinition, channel)

  async function ask(request: Asked) {
    async function* requests() {
      yield ServerReflectionRequest.fromPartial(request)
    }
    const [answer] = await collect(reflection.serverReflectionInfo(requests(), makeCall({ timeout: 30_000 })))
    if (answer?.errorResponse) throw new Error(answer.errorResponse.errorMessage)
    return answer
  }

  async function registryOf(symbol: string): Promise<FileRegistry> {
    const answer = await ask({ fileContainingSymbol: symbol })
    const files = (answer?.fileDescriptorResponse?.fileDescriptorProto ?? []).map((bytes) =>
      fromBinary(FileDescriptorProtoSchema, bytes),
    )
    return createFileRegistry(create(FileDescriptorSetSchema, { file: importsFirst(files) }))
  }

  async function serviceOf(name: string) {
    const registry = await registryOf(name)
    const service = registry.getService(name)
    if (service === undefined) throw new Error(`${name} is not in what the server sent of it`)
    return { registry, service }
  }

  async function methodOf(service: string, name: string): Promise<{ registry: FileRegistry; method: DescMethod }> {
    const found = await serviceOf(service)
    const method = found.service.methods.find((one) => one.name === name)
    if (method === undefined) throw new Error(`${service} has no method ${name}`)
    return { registry: found.registry, method }
  }

  return {
    async services() {
      const answer = await ask({ listServices: '' })
      return (answer?.listServicesResponse?.service ?? []).map(({ name }) => name)
    },
    async methods(name) {
      return (await serviceOf(name)).service.methods.map((method) => method.name)
    },
    async call(path, requests, call) {
      const [name = '', wanted = ''] = path.split('/')
      const { registry, method } = await methodOf(name, wanted)
      const all = Array.isArray(requests) ? (requests as readonly JsonValue[]) : [requests as JsonValue]
      async function* bytes() {
        for (const one of all) yield Buffer.from(toBinary(method.input, fromJson(method.input, one, { registry })))
      }
      const answers = await collect(callRaw(channel, `/${path}`, bytes(), call))
      return answers.map((answer) => toJson(method.output, fromBinary(method.output, answer), { registry }))
    },
    [Symbol.dispose]: () => channel.close(),
  }
}

/** A server sends a file before what it imports; a registry wants it behind that. */
function importsFirst(files: readonly FileDescriptorProto[]): FileDescriptorProto[] {
  const ordered = new Set<FileDescriptorProto>()
  function add(file: FileDescriptorProto): void {
    for (const name of file.dependency) {
      const imported = files.find((one) => one.name === name)
      if (imported === undefined) throw new Error(`the server did not send ${name}, which ${file.name} imports`)
      add(imported)
    }
    ordered.add(file)
  }
  for (const file of files) add(file)
  return [...ordered]
}
