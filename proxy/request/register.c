/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to ourselves: REGISTER goes to the registrar, OPTIONS is answered, nothing else is
 * served. */
#include "proxy/request/request_internal.h"

static void on_registered(void *owner, const struct registrar_result *result)
{
    struct request *request = owner;

    request->job = NULL;
    if (!request_is_open(request))
        return;
    if (result->reason == REASON_ALLOWED) {
        respond_status(request, 200, result->headers);
        request_become(request, REQUEST_DONE);
        return;
    }
    respond_with(request, result->reason, result->detail, result->headers);
    request_become(request, REQUEST_REFUSED);
}

static void begin_register(struct request *request)
{
    struct registrar_input input = {
        .endpoint = request->endpoint,
        .message = &request->message,
        .aor = &request->to,
        .held = authorize_peer(&request->authorization),
        .located = request->authorization.locate,
        .from = &request->speaker,
        .third_party = request->authorization.decision.third_party,
        .password_user = request->authorization.password_user,
    };
    struct registrar_job *job;

    authorize_device_key(&request->authorization, input.device_key);

    request_become(request, REQUEST_STORING);
    registrar_begin(request->layer->registrar, &input, on_registered, request, &job);
    if (job)
        request->job = job;
}

static void answer_options(struct request *request)
{
    respond_status(request, 200,
                   SLICE("Allow: " REQUEST_ALLOWED_METHODS "\r\nAccept: */*\r\n"
                         "Supported: " REQUEST_SUPPORTED "\r\n"));
    request_become(request, REQUEST_DONE);
}

void request_answer_ourselves(struct request *request)
{
    bool at_domain = request->target.kind == REQUEST_TARGET_DOMAIN;

    if (request->message.method == METHOD_REGISTER && at_domain && request->endpoint)
        begin_register(request);
    else if (request->message.method == METHOD_OPTIONS)
        answer_options(request);
    else
        request_refuse(request, REASON_METHOD_NOT_ALLOWED, NULL);
}
