import {
  ServerReflectionDefinition,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from '@flotilla/api/grpc/reflection/v1/reflection'
import { ServerReflectionDefinition as ServerReflectionAlphaDefinition } from '@flotilla/api/grpc/reflection/v1alpha/reflection'
import { type RpcServer, type ServiceOf, status } from '@flotilla/rpc'
import { type DescriptorIndex, indexDescriptors, type ProtoFile } from './descriptors.ts'

export interface ReflectionDeps {
  /** An encoded google.protobuf.FileDescriptorSet with imports. */
  readonly descriptors: Uint8Array
  /** Full names of the services that the server has; others are found when asked for by name, but not listed. */
  readonly services: readonly string[]
}

type Answer = Pick<
  ServerReflectionResponse,
  'fileDescriptorResponse' | 'allExtensionNumbersResponse' | 'listServicesResponse' | 'errorResponse'
>

/** Describes a server's services. The messages of v1 and v1alpha are equal, so one service serves both definitions. */
export function createReflectionService(deps: ReflectionDeps): ServiceOf<ServerReflectionDefinition> {
  const index = indexDescriptors(deps.descriptors)
  const services = [...new Set(deps.services)].sort()
  return {
    async *serverReflectionInfo(requests) {
      // A client builds up the files on its side, so a stream carries each only once.
      const carried = new Set<ProtoFile>()
      for await (const request of requests)
        yield { validHost: request.host, originalRequest: request, ...answerTo(request, index, services, carried) }
    },
  }
}

function answerTo(
  request: ServerReflectionRequest,
  index: DescriptorIndex,
  services: readonly string[],
  carried: Set<ProtoFile>,
): Answer {
  const missing = (what: string): Answer => ({
    errorResponse: { errorCode: status.NOT_FOUND, errorMessage: `${what} not found` },
  })
  const give = (file: ProtoFile | undefined, what: string): Answer => {
    if (file === undefined) return missing(what)
    const fresh = index.withImports(file).filter((each) => each === file || !carried.has(each))
    for (const each of fresh) carried.add(each)
    return { fileDescriptorResponse: { fileDescriptorProto: fresh.map(({ bytes }) => Buffer.from(bytes)) } }
  }

  if (request.listServices !== undefined)
    return { listServicesResponse: { service: services.map((name) => ({ name })) } }
  if (request.fileByFilename !== undefined)
    return give(index.file(request.fileByFilename), `file "${request.fileByFilename}"`)
  if (request.fileContainingSymbol !== undefined) {
    const name = request.fileContainingSymbol
    return give(index.fileOfSymbol(name.replace(/^\./, '')), `symbol "${name}"`)
  }
  if (request.fileContainingExtension !== undefined) {
    const { containingType, extensionNumber } = request.fileContainingExtension
    const file = index.fileOfExtension(containingType, extensionNumber)
    return give(file, `extension ${extensionNumber} of "${containingType}"`)
  }
  if (request.allExtensionNumbersOfType !== undefined) {
    const baseTypeName = request.allExtensionNumbersOfType
    const numbers = index.extensionsOf(baseTypeName)
    if (numbers === undefined) return missing(`message "${baseTypeName}"`)
    return { allExtensionNumbersResponse: { baseTypeName, extensionNumber: numbers } }
  }
  return { errorResponse: { errorCode: status.INVALID_ARGUMENT, errorMessage: 'the request asks for nothing' } }
}

/**
 * Adds both versions of reflection to a server, before it listens.
 *
 * @param services full names of what the server has; without it, everything that the descriptors define is listed
 */
export function addReflection(server: RpcServer, descriptors: Uint8Array, services?: Iterable<string>): void {
  const listed = services === undefined ? indexDescriptors(descriptors).services : [...services]
  const own = [ServerReflectionDefinition.fullName, ServerReflectionAlphaDefinition.fullName]
  const service = createReflectionService({ descriptors, services: [...listed, ...own] })
  server.add(ServerReflectionDefinition, service)
  server.add(ServerReflectionAlphaDefinition, service)
}
