// Shows our own document; no script stands in the page, so that its policy can forbid all that do.
SwaggerUIBundle({ url: "/api/schema", dom_id: "#swagger-ui", deepLinking: true, persistAuthorization: false });
